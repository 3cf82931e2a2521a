#pragma once

// A run: one step after the other.
//
//   packer --rows--> one pass over all --gradients--> optimizer --> weights --> panels
//                           \--rows per expert--> balance --> expert bias
//
// In a phase that settles the pass goes forward only, and the balance is told once a load window.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/concurrency/thread_pool.h"
#include "services/trainer/backward/row_pass.h"
#include "services/trainer/corpus/document.h"
#include "services/trainer/optimizer/expert_balance.h"
#include "services/trainer/optimizer/optimizer.h"
#include "services/trainer/run/model_files.h"
#include "services/trainer/run/run_state.h"
#include "services/trainer/run/train_config.h"

namespace tessera::trainer {

struct StepReport {
  uint64_t step = 0;
  size_t tokens = 0;
  size_t loss_tokens = 0;
  double loss = 0;           // cross entropy per token with loss, nats
  double accuracy = 0;       // part of them predicted as the likeliest
  double gradient_norm = 0;  // 0 in a phase that settles, like the one below
  double rate_scale = 0;
  std::vector<LoadFigures> load;  // of this step, per MoE layer
  // The same over the last kLoadTokens; empty unless this step ends such a window.
  std::vector<LoadFigures> window_load;
};

// Owned by the thread that owns the pool.
class Trainer {
 public:
  static constexpr size_t kLoadTokens = 16 << 10;

  // `source` and `pool` are borrowed. Errors: kFailedPrecondition (this CPU lacks AVX2 or FMA),
  // kInvalidArgument (a model that is not trained), kResourceExhausted.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(const TrainConfig& config,
                                                         const DocumentSource& source,
                                                         ThreadPool& pool);

  // The next step. kInvalidArgument: a document of the source is wrong; kDataLoss: the loss is no
  // number any more.
  absl::StatusOr<StepReport> Step();

  uint64_t step() const { return step_; }  // steps taken
  bool done() const { return step_ >= config_.steps(); }
  const ParameterLayout& layout() const { return layout_; }
  ModelWeights weights() const { return {values_.span(), balance_.bias()}; }

  // Errors: those of WriteRunState and ReadRunState.
  absl::Status Save(const std::string& path);
  absl::Status Restore(const std::string& path);
  // Weights of a checkpoint of the same shape, before the first step: ReadModel's errors.
  absl::Status StartFrom(const std::string& model_dir);

 private:
  Trainer(const TrainConfig& config, ParameterLayout layout, const DocumentSource& source,
          ThreadPool& pool);
  absl::Status Allocate();
  using Counts = std::vector<std::vector<uint32_t>>;  // rows per expert, [MoE layers][experts]

  // Before the first step of a later phase.
  void BeginPhase(size_t index);
  absl::StatusOr<std::vector<PackedRow>> NextRows();
  LossOptions OptionsOf(const PackedRow& batch, const Phase& phase) const;
  // The rows of each expert; the rest goes to `report`.
  Counts RunBatch(const PackedRow& batch, const Phase& phase, StepReport& report);
  // The sums of the load window that ends with `counts`; empty if none does.
  Counts AddLoad(const Counts& counts, size_t tokens, StepReport& report);
  RunArrays Arrays();

  const TrainConfig config_;
  const ParameterLayout layout_;
  ThreadPool& pool_;
  RowPacker packer_;
  Optimizer optimizer_;
  ExpertBalance balance_;
  Slab<float> values_;                    // [layout.size]
  Slab<float> packed_;                    // [layout.packed_size]
  Slab<float> gradients_;                 // [layout.size]
  std::unique_ptr<RowPass<float>> pass_;  // of a batch
  uint64_t step_ = 0;
  std::vector<uint64_t> window_;  // [MoE layers][experts] rows, then the tokens
};

// Weights before the first step: truncated normal, standard deviation 1 / sqrt(inputs), half of
// that for the head and attention's gate; norms 1, those behind a block 1 / sqrt(layers).
void InitializeWeights(const ParameterLayout& layout, uint64_t seed, std::span<float> values);

// values [layout.size] as products read them, packed [layout.packed_size].
void PackWeights(const ParameterLayout& layout, std::span<const float> values, ThreadPool& pool,
                 std::span<float> packed);

}  // namespace tessera::trainer
