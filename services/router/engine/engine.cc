#include "services/router/engine/engine.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"
#include "common/kernels/reduce.h"
#include "services/router/dispatch/dispatch_metrics.h"

namespace tessera::router {

EngineMetrics::EngineMetrics(Registry& registry)
    : steps(registry.AddCounter("tessera_router_steps_total", "Steps committed.")),
      failed_steps(
          registry.AddCounter("tessera_router_failed_steps_total",
                              "Steps that were given up because experts or weights failed.")),
      rows(registry.AddCounter("tessera_router_rows_total", "Rows computed in committed steps.")),
      tokens(registry.AddCounter("tessera_router_tokens_total", "Tokens sampled.")),
      degraded_tokens(registry.AddCounter("tessera_router_degraded_tokens_total",
                                          "Tokens of requests that did without an expert.")),
      non_finite_logits(
          registry.AddCounter("tessera_router_non_finite_logits_total",
                              "Rows with a NaN or infinite logit; each ended its request.")),
      step_seconds(registry.AddHistogram(
          "tessera_router_step_seconds", "Duration of committed steps.",
          {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10})),
      step_rows(registry.AddHistogram(
          "tessera_router_step_rows", "Rows, one a token, of committed steps.",
          {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384})) {}

void EngineMetrics::AddLayers(Registry& registry, size_t layer_count, size_t dense_count) {
  layers.resize(layer_count);
  for (size_t layer = 0; layer < layer_count; ++layer) {
    const auto part = [&](const char* phase) {
      return CounterTally(registry.AddCounter(kLayerSecondsName, kLayerSecondsHelp,
                                              {{"layer", absl::StrCat(layer)}, {"phase", phase}}));
    };
    LayerSeconds& seconds = layers[layer];
    seconds.attention = part("attention");
    if (layer < dense_count) {
      seconds.dense = part("dense");
    } else {
      seconds.gate = part("gate");
      seconds.shared = part("shared");
    }
  }
}

void EngineMetrics::CommitLayers() {
  for (LayerSeconds& layer : layers) {
    for (CounterTally* tally : {&layer.attention, &layer.dense, &layer.gate, &layer.shared}) {
      tally->Commit();
    }
  }
}

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
  row_count_ = batch.row_count();
  affected_.clear();
  if (batch.empty()) {
    HandOutFinished();
    return absl::OkStatus();
  }
  TellTraces(batch);
  for (const StepBatch::Chunk& chunk : batch.chunks()) {
    if (chunk.sequence->first_step_at() < absl::ZeroDuration()) {
      chunk.sequence->SetFirstStepAt(start);
    }
  }
  const absl::StatusOr<MatrixView> hidden = Forward(batch);
  view_ = nullptr;  // an engine that idles keeps no old map alive
  rooms_.experts.EndStep();
  rooms_.metrics.CommitLayers();
  if (!hidden.ok()) {
    NoteAffected(batch);
    rooms_.scheduler.Abort(batch);
    if (rooms_.tally != nullptr) rooms_.tally->Abort();
    rooms_.metrics.failed_steps.Increment();
    HandOutFinished();
    return hidden.status();
  }
  const MatrixView logits = logits_.view().Rows(0, hidden->rows());
  rooms_.model.Project(*hidden, logits);
  HandOutPromptLogits(batch, logits);
  std::vector<SampledToken> sampled = rooms_.sampler.Sample(batch, logits);
  for (size_t i = 0; i < visited_.size(); ++i) {
    sampled[i].routed_experts = std::move(visited_[i]);
  }
  for (Sequence* sequence : degraded_) sequence->MarkDegraded();
  rooms_.scheduler.Commit(batch, sampled);
  HandOutTokens(batch, sampled);
  HandOutFinished();
  const absl::Duration end = rooms_.clock.Elapsed();
  if (rooms_.tally != nullptr) rooms_.tally->Commit(end);
  rooms_.metrics.steps.Increment();
  rooms_.metrics.rows.Increment(static_cast<double>(batch.row_count()));
  rooms_.metrics.step_seconds.Observe(absl::ToDoubleSeconds(end - start));
  rooms_.metrics.step_rows.Observe(static_cast<double>(batch.row_count()));
  return absl::OkStatus();
}

absl::StatusOr<MatrixView> Engine::Forward(const StepBatch& batch) {
  MatrixView hidden = hidden_.view().Rows(0, batch.row_count());
  visited_.assign(batch.samples().size(), {});
  degraded_.clear();
  row_owners_.clear();
  view_ = rooms_.directory == nullptr ? nullptr : rooms_.directory->View();
  rooms_.model.Embed(batch.token_ids(), hidden);
  absl::Duration lap = rooms_.clock.Elapsed();
  for (size_t i = 0; i < rooms_.model.layer_count(); ++i) {
    const LayerIndex layer{static_cast<uint32_t>(i)};
    layer_ = layer;
    hidden = Attend(layer, batch, hidden);
    Lap(lap, &LayerSeconds::attention);
    if (rooms_.model.is_dense(layer)) {
      rooms_.model.DenseMlp(layer, hidden);
      Lap(lap, &LayerSeconds::dense);
    } else {
      TESSERA_RETURN_IF_ERROR(MoeLayer(layer, batch, hidden, lap));
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

void Engine::Lap(absl::Duration& start, CounterTally LayerSeconds::*part) {
  if (rooms_.metrics.layers.empty()) return;
  const absl::Duration now = rooms_.clock.Elapsed();
  (rooms_.metrics.layers[ToIndex(layer_)].*part)
      .Add(absl::ToDoubleSeconds(now - std::exchange(start, now)));
}

absl::Status Engine::MoeLayer(LayerIndex layer, const StepBatch& batch, MatrixView hidden,
                              absl::Duration& lap) {
  const MatrixView shared = shared_sum_.view().Rows(0, hidden.rows());
  const MatrixView experts = expert_sum_.view().Rows(0, hidden.rows());
  const Routed routed = rooms_.model.Gate(layer, hidden);
  if (view_ != nullptr) LeaveOutHomeless(layer, batch, routed);
  NoteRoutedExperts(layer, batch, routed);
  if (rooms_.tally != nullptr) rooms_.tally->CountRouting(layer, routed.routing.experts);
  Lap(lap, &LayerSeconds::gate);
  TESSERA_ASSIGN_OR_RETURN(const InFlight calls, rooms_.experts.Send(layer, routed));
  lap = rooms_.clock.Elapsed();
  rooms_.model.SharedExpert(layer, routed, shared);  // while the calls are away
  Lap(lap, &LayerSeconds::shared);
  TESSERA_RETURN_IF_ERROR(rooms_.experts.Receive(calls, experts));
  lap = rooms_.clock.Elapsed();
  rooms_.model.AddMoe(layer, shared, experts, hidden);
  Lap(lap, &LayerSeconds::shared);
  return absl::OkStatus();
}

size_t Engine::BatchRow(LayerIndex layer, const StepBatch& batch, size_t row) const {
  const bool last = ToIndex(layer) + 1 == rooms_.model.layer_count();
  return last ? batch.logits_rows()[row] : row;
}

void Engine::FindHomeless(LayerIndex layer) {
  missing_experts_.clear();
  for (uint32_t expert = 0; expert < rooms_.model.spec().expert_count; ++expert) {
    const auto replicas = view_->placement.replicas(layer, ExpertId{expert});
    const bool held = std::ranges::any_of(replicas, [this](const Replica& replica) {
      return view_->LinkOf(replica.shard) != nullptr;
    });
    if (!held) missing_experts_.push_back(expert);
  }
}

void Engine::LeaveOutHomeless(LayerIndex layer, const StepBatch& batch, const Routed& routed) {
  const bool wanted = std::ranges::any_of(batch.chunks(), [](const StepBatch::Chunk& chunk) {
    return chunk.sequence->leaves_out_homeless();
  });
  if (!wanted) return;
  FindHomeless(layer);
  if (missing_experts_.empty()) return;
  if (row_owners_.empty()) {
    for (const StepBatch::Chunk& chunk : batch.chunks()) {
      row_owners_.insert(row_owners_.end(), chunk.row_count, chunk.sequence);
    }
  }
  for (size_t row = 0; row < routed.routing.rows; ++row) {
    Sequence* const sequence = row_owners_[BatchRow(layer, batch, row)];
    if (!sequence->leaves_out_homeless()) continue;
    const bool met = std::ranges::any_of(routed.routing.experts_of(row), [this](uint32_t expert) {
      return std::ranges::binary_search(missing_experts_, expert);
    });
    if (met && rooms_.model.GateWithout(layer, row, missing_experts_)) {
      degraded_.push_back(sequence);
    }
  }
}

void Engine::NoteRoutedExperts(LayerIndex layer, const StepBatch& batch, const Routed& routed) {
  const bool last = ToIndex(layer) + 1 == rooms_.model.layer_count();
  for (size_t i = 0; i < batch.samples().size(); ++i) {
    const StepBatch::Sample& sample = batch.samples()[i];
    if (!sample.sequence->wants_routed_experts()) continue;
    const size_t row = last ? sample.logits_index : batch.logits_rows()[sample.logits_index];
    for (const uint32_t expert : routed.routing.experts_of(row)) {
      visited_[i].push_back(static_cast<uint16_t>(expert));
    }
  }
}

void Engine::TellTraces(const StepBatch& batch) {
  traces_.clear();
  for (const StepBatch::Chunk& chunk : batch.chunks()) {
    if (!chunk.sequence->trace()) continue;
    const bool is_first = chunk.sequence->first_step_at() < absl::ZeroDuration();
    if (is_first || chunk.row_begin >= batch.decode_row_count()) {
      traces_.push_back(*chunk.sequence->trace());
    }
  }
  rooms_.experts.BeginStep(traces_);
}

void Engine::NoteAffected(const StepBatch& batch) {
  std::vector<bool> rows(batch.row_count(), false);
  for (const uint32_t row : rooms_.experts.homeless_rows()) {
    rows[BatchRow(layer_, batch, row)] = true;
  }
  const bool all = rooms_.experts.homeless_rows().empty();
  for (const StepBatch::Chunk& chunk : batch.chunks()) {
    bool touched = all;
    for (uint32_t i = 0; i < chunk.row_count; ++i) touched |= rows[chunk.row_begin + i];
    if (touched) affected_.push_back(chunk.sequence->id());
  }
  std::ranges::sort(affected_);
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
    if (sampled[i].status.code() == absl::StatusCode::kInternal) {
      rooms_.metrics.non_finite_logits.Increment();
    }
    // One that failed or was cancelled amid the step has not taken its token.
    const Sequence& sequence = *batch.samples()[i].sequence;
    const FinishReason reason = sequence.finish_reason();
    if (reason == FinishReason::kError || reason == FinishReason::kCancelled) continue;
    rooms_.metrics.tokens.Increment();
    if (sequence.degraded()) rooms_.metrics.degraded_tokens.Increment();
    rooms_.sink.OnToken(sequence, sampled[i]);
  }
}

void Engine::HandOutFinished() {
  for (std::unique_ptr<Sequence>& sequence : rooms_.scheduler.TakeFinished()) {
    rooms_.sink.OnFinished(std::move(sequence));
  }
}

}  // namespace tessera::router
