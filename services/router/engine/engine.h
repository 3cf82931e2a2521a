#pragma once

// The corridor: one step from the next batch to committed tokens.
//
//   NextBatch ─► Embed ─► per layer { Attend, then DenseMlp, or Gate, Send, SharedExpert, Receive,
//   AddMoe }
//             ─► Project ─► Sample ─► Commit ─► TokenSink
//
// A step is a transaction: only Commit advances a sequence. Keys and values that a failed step
// wrote lie past the committed positions and are written again.

#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/metrics/metrics.h"
#include "common/tensor/matrix.h"
#include "services/router/cluster/shard_directory.h"
#include "services/router/dispatch/expert_calls.h"
#include "services/router/engine/token_sink.h"
#include "services/router/kv/kv_cache.h"
#include "services/router/model/model.h"
#include "services/router/sampling/sampler.h"
#include "services/router/scheduler/scheduler.h"
#include "services/router/tally/expert_tally.h"

namespace tessera::router {

struct EngineConfig {
  size_t batch_tokens_max = 2048;  // rows of a step, as the scheduler's; > 0
  size_t logits_rows_max = 256;    // rows projected to logits in a step, as the scheduler's; > 0
};

// Where the time of a layer goes, in committed steps and given up ones. What the dispatcher does is
// counted by the dispatcher, in the same family.
struct LayerSeconds {
  CounterTally attention;  // norm, attention over the cache, residual
  CounterTally dense;      // the MLP of a dense layer
  CounterTally gate;       // norm, choice of experts
  CounterTally shared;  // the shared expert, while the calls are away; the final sum and residual
};

// What a step tells Prometheus. Made once from the service's registry.
struct EngineMetrics {
  explicit EngineMetrics(Registry& registry);
  // Adds the series of so many layers, of which the first ones are dense.
  void AddLayers(Registry& registry, size_t layer_count, size_t dense_count);
  // Tells what the layers tallied.
  void CommitLayers();
  Counter steps;                     // committed
  Counter failed_steps;              // aborted, to be run again or not
  Counter rows;                      // computed in committed steps
  Counter tokens;                    // sampled
  Counter degraded_tokens;           // of them, of sequences that did without an expert
  Counter non_finite_logits;         // rows with a NaN or infinite logit; each ended its request
  Histogram step_seconds;            // of committed steps
  Histogram step_rows;               // of committed steps
  std::vector<LayerSeconds> layers;  // [layers]; empty: nobody measures
};

// The rooms of the corridor; all borrowed.
struct EngineRooms {
  Scheduler& scheduler;
  KvCache& kv;
  Model& model;
  ExpertCalls& experts;
  Sampler& sampler;
  TokenSink& sink;
  const Clock& clock;
  EngineMetrics& metrics;
  const ShardDirectory* directory = nullptr;  // null: every expert is always held
  ExpertTally* tally = nullptr;               // null: nobody counts
};

// Owned by the engine thread, the only one that touches its rooms.
class Engine {
 public:
  // verify_weights says after each forward pass whether the weights it read are still those of the
  // checkpoint (a mapped file may shrink under us); empty: always.
  Engine(const EngineConfig& config, const EngineRooms& rooms,
         std::function<absl::Status()> verify_weights);

  // Runs one step; does nothing if no sequence has work. Sequences that ended are handed to the
  // sink. Errors, with which nothing advanced:
  //   kUnavailable, kDeadlineExceeded  experts did not answer: call again, perhaps without
  //   affected() kDataLoss, kInternal             with affected() the same would happen again
  absl::Status Step();

  // Rows of the last Step; 0: no sequence could compute anything.
  size_t row_count() const { return row_count_; }
  // After an error of Step, until the next: the sequences it is about, ascending ids. Those whose
  // experts nobody holds if that was said, else all of the batch.
  std::span<const SequenceId> affected() const { return affected_; }

 private:
  // All layers; returns the hidden rows that are projected, [batch.logits_rows()].
  absl::StatusOr<MatrixView> Forward(const StepBatch& batch);
  MatrixView Attend(LayerIndex layer, const StepBatch& batch, MatrixView hidden);
  // Adds what passed since `start` to a counter, and starts anew.
  void Lap(absl::Duration& start, CounterTally LayerSeconds::*part);
  absl::Status MoeLayer(LayerIndex layer, const StepBatch& batch, MatrixView hidden,
                        absl::Duration& lap);
  // Chooses again for rows that may do without experts nobody holds, where their choice met one.
  void LeaveOutHomeless(LayerIndex layer, const StepBatch& batch, const Routed& routed);
  // Ids into missing_experts_, ascending.
  void FindHomeless(LayerIndex layer);
  void NoteRoutedExperts(LayerIndex layer, const StepBatch& batch, const Routed& routed);
  // The row of the batch that is row `row` of a layer behind its attention.
  size_t BatchRow(LayerIndex layer, const StepBatch& batch, size_t row) const;
  // Tells the experts which traced sequences compute a prompt, or their first row, in this step:
  // a span of each shard for each of these, not one for each token.
  void TellTraces(const StepBatch& batch);
  void NoteAffected(const StepBatch& batch);
  void HandOutTokens(const StepBatch& batch, std::span<const SampledToken> sampled);
  void HandOutPromptLogits(const StepBatch& batch, ConstMatrixView logits);
  void HandOutFinished();

  const EngineRooms rooms_;
  const std::function<absl::Status()> verify_weights_;

  Matrix hidden_;                   // [batch_tokens_max, d_model]
  Matrix shared_sum_;               // [batch_tokens_max, d_model]
  Matrix expert_sum_;               // [batch_tokens_max, d_model]
  Matrix logits_;                   // [logits_rows_max, vocab]
  std::vector<uint32_t> all_rows_;  // 0 .. batch_tokens_max - 1

  // Of the step at work, or the last.
  size_t row_count_ = 0;
  LayerIndex layer_{};
  std::shared_ptr<const ClusterView> view_;
  std::vector<Sequence*> row_owners_;           // [rows]; filled only while somebody needs it
  std::vector<uint32_t> missing_experts_;       // of the layer at work
  std::vector<Sequence*> degraded_;             // a row of theirs did without an expert
  std::vector<std::vector<uint16_t>> visited_;  // [samples][moe layers so far, top_k]
  std::vector<SequenceId> affected_;
  std::vector<TraceContext> traces_;
};

}  // namespace tessera::router
