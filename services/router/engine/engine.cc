#include "services/router/engine/engine.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"
#include "common/kernels/reduce.h"

namespace tessera::router {

EngineMetrics::EngineMetrics(Registry& registry)
    : steps(registry.AddCounter("tessera_router_steps_total", "Steps committed.")),
      failed_steps(
          registry.AddCounter("tessera_router_failed_steps_total",
                              "Steps that were given up because experts or weights failed.")),
      rows(registry.AddCounter("tessera_router_rows_total", "Rows computed in committed steps.")),
      tokens(registry.AddCounter("tessera_router_tokens_total", "Tokens sampled.")),
      non_finite_logits(
          registry.AddCounter("tessera_router_non_finite_logits_total",
                              "Rows with a NaN or infinite logit; each ended its request.")),
      step_seconds(registry.AddHistogram(
          "tessera_router_step_seconds", "Duration of committed steps.",
          {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10})) {}

Engine::Engine(const EngineConfig& config, const EngineRooms& rooms,
               std::function<absl::Status()> verify_weights)
    : rooms_(rooms),
      verify_weights_(std::move(verify_weights)),
      hidden_(config.batch_tokens_max, rooms.model.spec().d_model),
      shared_sum_(config.batch_tokens_max, rooms.model.spec().d_model),
      expert_sum_(config.batch_tokens_max, rooms.model.spec().d_model),
      logits_(config.logits_rows_max, rooms.model.spec().vocab),
      all_rows_(config.batch_tokens_max) {
  std::iota(all_rows_.begin(), all_rows_.end(), 0u);
}

absl::Status Engine::Step() {
  const absl::Duration start = rooms_.clock.Elapsed();
  const StepBatch batch = rooms_.scheduler.NextBatch(start);
  if (batch.empty()) {
    HandOutFinished();
    return absl::OkStatus();
  }
  const absl::StatusOr<MatrixView> hidden = Forward(batch);
  if (!hidden.ok()) {
    rooms_.scheduler.Abort(batch);
    rooms_.metrics.failed_steps.Increment();
    HandOutFinished();
    return hidden.status();
  }
  const MatrixView logits = logits_.view().Rows(0, hidden->rows());
  rooms_.model.Project(*hidden, logits);
  HandOutPromptLogits(batch, logits);
  const std::vector<SampledToken> sampled = rooms_.sampler.Sample(batch, logits);
  rooms_.scheduler.Commit(batch, sampled);
  HandOutTokens(batch, sampled);
  HandOutFinished();
  rooms_.metrics.steps.Increment();
  rooms_.metrics.rows.Increment(static_cast<double>(batch.row_count()));
  rooms_.metrics.step_seconds.Observe(absl::ToDoubleSeconds(rooms_.clock.Elapsed() - start));
  return absl::OkStatus();
}

absl::StatusOr<MatrixView> Engine::Forward(const StepBatch& batch) {
  MatrixView hidden = hidden_.view().Rows(0, batch.row_count());
  rooms_.model.Embed(batch.token_ids(), hidden);
  for (size_t i = 0; i < rooms_.model.layer_count(); ++i) {
    const LayerIndex layer{static_cast<uint32_t>(i)};
    hidden = Attend(layer, batch, hidden);
    if (rooms_.model.is_dense(layer)) {
      rooms_.model.DenseMlp(layer, hidden);
    } else {
      TESSERA_RETURN_IF_ERROR(MoeLayer(layer, hidden));
    }
  }
  if (verify_weights_) TESSERA_RETURN_IF_ERROR(verify_weights_());
  return hidden;
}

MatrixView Engine::Attend(LayerIndex layer, const StepBatch& batch, MatrixView hidden) {
  // Behind the last layer's attention only the rows that become logits go on.
  const bool last = ToIndex(layer) + 1 == rooms_.model.layer_count();
  const AttendRows rows{
      .rows = batch.attention_rows(rooms_.model.spec().layer_kinds[ToIndex(layer)]),
      .positions = batch.positions(),
      .kept = last ? batch.logits_rows()
                   : std::span<const uint32_t>(all_rows_).first(batch.row_count()),
  };
  return rooms_.model.Attend(layer, rooms_.kv.View(layer), rows, hidden);
}

absl::Status Engine::MoeLayer(LayerIndex layer, MatrixView hidden) {
  const MatrixView shared = shared_sum_.view().Rows(0, hidden.rows());
  const MatrixView experts = expert_sum_.view().Rows(0, hidden.rows());
  const Routed routed = rooms_.model.Gate(layer, hidden);
  TESSERA_ASSIGN_OR_RETURN(const InFlight calls, rooms_.experts.Send(layer, routed));
  rooms_.model.SharedExpert(layer, routed, shared);  // while the calls are away
  TESSERA_RETURN_IF_ERROR(rooms_.experts.Receive(calls, experts));
  rooms_.model.AddMoe(layer, shared, experts, hidden);
  return absl::OkStatus();
}

void Engine::HandOutPromptLogits(const StepBatch& batch, ConstMatrixView logits) {
  for (const StepBatch::PromptLogits& wanted : batch.prompt_logits()) {
    const std::span<const float> row = logits.row(wanted.logits_index);
    if (kernels::AllFinite(row)) {
      rooms_.sink.OnPromptLogits(*wanted.sequence, wanted.position, row);
      continue;
    }
    rooms_.metrics.non_finite_logits.Increment();
    rooms_.scheduler.Fail(wanted.sequence->id(), absl::InternalError(absl::StrCat(
                                                     "a logit of prompt position ", wanted.position,
                                                     " is NaN or infinite")));
  }
}

void Engine::HandOutTokens(const StepBatch& batch, std::span<const SampledToken> sampled) {
  TESSERA_CHECK(sampled.size() == batch.samples().size());
  for (size_t i = 0; i < sampled.size(); ++i) {
    if (sampled[i].status.ok()) {
      rooms_.metrics.tokens.Increment();
      rooms_.sink.OnToken(*batch.samples()[i].sequence, sampled[i]);
    } else if (sampled[i].status.code() == absl::StatusCode::kInternal) {
      rooms_.metrics.non_finite_logits.Increment();
    }
  }
}

void Engine::HandOutFinished() {
  for (std::unique_ptr<Sequence>& sequence : rooms_.scheduler.TakeFinished()) {
    rooms_.sink.OnFinished(std::move(sequence));
  }
}

}  // namespace tessera::router
