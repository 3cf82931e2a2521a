#pragma once

// Forward and backward of the whole model on one packed row of a batch.
//
//   ids --embed--> x --layer 0..L-1--> x --norm, head, on tokens with loss only--> loss
//       <--------- gradients of every parameter <--------------------------------

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "services/trainer/backward/attention_block.h"
#include "services/trainer/backward/mlp_block.h"
#include "services/trainer/backward/parameters.h"
#include "services/trainer/backward/slab.h"
#include "services/trainer/backward/weight_view.h"

namespace tessera::trainer {

// Documents one behind the other.
struct PackedRow {
  static constexpr int32_t kNoLoss = -1;
  std::vector<int32_t> ids;         // [tokens]
  std::vector<int32_t> targets;     // [tokens]; what follows in the same document, or kNoLoss
  std::vector<uint32_t> documents;  // where each begins, and tokens
};

struct LossOptions {
  double token_weight = 1;    // of each token's loss: 1 / tokens with loss in the batch
  double z_weight = 0;        // of log(sum(exp(logits)))^2
  double balance_weight = 0;  // of each layer's balance loss of this row (see Moe)
};

struct RowLoss {
  double cross_entropy = 0;  // sum over tokens with loss, nats
  double log_sum_square = 0;
  double balance = 0;                         // sum over layers, if LossOptions weighs it
  size_t tokens = 0;                          // with loss
  size_t hits = 0;                            // of them: the target had the largest logit
  std::vector<std::vector<uint32_t>> counts;  // rows per expert, [MoE layers][experts]
};

// The memory of one row; thread-compatible. Different objects run side by side.
template <typename T>
class RowPass {
 public:
  // `layout` is borrowed. kResourceExhausted if the memory is not there.
  static absl::StatusOr<std::unique_ptr<RowPass>> Create(const ParameterLayout& layout,
                                                         size_t tokens_max);

  // Sets gradients [layout.size] (padding between parameters excepted). row: at most tokens_max
  // tokens, at least one.
  RowLoss Run(const PackedRow& row, const WeightView<T>& weights, const LossOptions& options,
              T* gradients);
  // Loss alone.
  RowLoss Evaluate(const PackedRow& row, const WeightView<T>& weights, const LossOptions& options);
  // Logits of every position, [tokens, vocab].
  std::vector<T> Logits(const PackedRow& row, const WeightView<T>& weights);

 private:
  explicit RowPass(const ParameterLayout& layout, size_t tokens_max);
  void Arrange(Slab<T>& slab);
  void FillAngles();
  RowFrame<T> Frame(const PackedRow& row, const WeightView<T>& weights, bool balance) const;
  void Forward(const PackedRow& row, const RowFrame<T>& frame);
  // Sets dx_; gradients null: no way back.
  RowLoss Loss(const PackedRow& row, const RowFrame<T>& frame, const LossOptions& options,
               T* gradients);
  void HeadBlock(const RowFrame<T>& frame, std::span<const uint32_t> tokens, const PackedRow& row,
                 const LossOptions& options, T* gradients, RowLoss& loss);
  void EmbeddingBackward(const PackedRow& row, T* gradients);

  const ParameterLayout& layout_;
  const size_t tokens_max_;
  Slab<T> slab_;
  std::vector<AttentionBlock<T>> attention_;
  std::vector<MlpBlock<T>> mlp_;
  std::vector<T*> hidden_;  // [2 * layers + 1] of [tokens, d_model]: before and between the blocks
  T* dx_ = nullptr;         // [tokens, d_model]
  T* cosines_ = nullptr;    // [tokens_max, head_dim / 2]
  T* sines_ = nullptr;
  T* head_rows_ = nullptr;  // of a block of tokens with loss: [block, d_model], like the two below
  T* head_normed_ = nullptr;
  T* head_drows_ = nullptr;
  T* head_inverse_ = nullptr;  // [block]
  T* logits_ = nullptr;        // [block, vocab]
  AttentionScratchRows<T> attention_scratch_;
  MlpScratch<T> mlp_scratch_;
};

}  // namespace tessera::trainer
