#pragma once

// Forward and backward of the whole model on one packed batch.
//
//   ids --embed--> x --layer 0..L-1--> x --norm, head, on tokens with loss only--> loss
//       <--------- gradients of every parameter <--------------------------------
//
// Threads take spans of whole documents through all that lies between two layers' experts, then
// experts one by one (each sees the rows of the whole batch), then spans again:
//
//   spans: embed .. layer 2's router | experts of 2 | spans: sum up .. layer 3's router | experts
//   ..
//
// On the way back the products that make weights' gradients go beside the experts, cut by rows of
// the gradient. No number depends on the threads: sums over spans are taken in the spans' order.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/concurrency/thread_pool.h"
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
  // What the balance loss is of, where each begins, and tokens; none: of the whole.
  std::vector<uint32_t> sequences;
};

// The rows of a batch one behind the other, each a sequence.
PackedRow JoinRows(std::span<const PackedRow> rows);

struct LossOptions {
  double token_weight = 1;    // of each token's loss: 1 / tokens with loss in the batch
  double z_weight = 0;        // of log(sum(exp(logits)))^2
  double balance_weight = 0;  // of each layer's balance loss, summed over sequences (see Moe)
};

struct RowLoss {
  double cross_entropy = 0;  // sum over tokens with loss, nats
  double log_sum_square = 0;
  double balance = 0;                         // sum over layers, if LossOptions weighs it
  size_t tokens = 0;                          // with loss
  size_t hits = 0;                            // of them: the target had the largest logit
  std::vector<std::vector<uint32_t>> counts;  // rows per expert, [MoE layers][experts]
};

// The memory of one batch. Owned by the thread that owns the pool; without one thread-compatible,
// and different objects run side by side.
template <typename T>
class RowPass {
 public:
  // `layout` and `pool` are borrowed; pool null: the calling thread computes alone.
  // kResourceExhausted if the memory is not there.
  static absl::StatusOr<std::unique_ptr<RowPass>> Create(const ParameterLayout& layout,
                                                         size_t tokens_max,
                                                         ThreadPool* pool = nullptr);

  // Sets gradients [layout.size] (padding between parameters excepted). row: at most tokens_max
  // tokens, at least one.
  RowLoss Run(const PackedRow& row, const WeightView<T>& weights, const LossOptions& options,
              T* gradients);
  // Loss alone.
  RowLoss Evaluate(const PackedRow& row, const WeightView<T>& weights, const LossOptions& options);
  // Logits of every position, [tokens, vocab].
  std::vector<T> Logits(const PackedRow& row, const WeightView<T>& weights);

 private:
  struct ThreadScratch {
    AttentionScratch<T> attention;
    MoeScratch<T> moe;
  };
  // Tokens [begin, begin + count) of those with loss: what one thread takes through the head.
  struct HeadBlock {
    size_t index = 0;
    std::span<const uint32_t> tokens;
    size_t at = 0;  // row of the head's arrays
    RowLoss loss;
  };
  using ForItem = absl::FunctionRef<void(size_t item, const ThreadScratch& scratch)>;
  using ForSpan = absl::FunctionRef<void(const RowSpan& span, const ThreadScratch& scratch)>;

  RowPass(const ParameterLayout& layout, size_t tokens_max, ThreadPool* pool);
  void Arrange(Slab<T>& slab);
  void FillAngles();

  void ForEach(size_t count, ForItem body);
  void ForEachSpan(ForSpan body);  // the longest first
  RowFrame<T> Begin(const PackedRow& row, const WeightView<T>& weights, bool balance);
  NormGradients<T> NormsOf(const RowSpan& span, size_t layer) const;

  void Embed(const PackedRow& row, const RowFrame<T>& frame, const RowSpan& span);
  void Forward(const PackedRow& row, const RowFrame<T>& frame);
  // Sets dx_; gradients null: no way back.
  RowLoss Loss(const PackedRow& row, const RowFrame<T>& frame, const LossOptions& options,
               T* gradients);
  void RunHead(const RowFrame<T>& frame, const PackedRow& row, const LossOptions& options,
               bool backward, HeadBlock& block);
  void Backward(const RowFrame<T>& frame, T balance_weight, T* gradients);
  // Between two layers' spans: gradients of what lies above, experts of what lies below.
  void WeightGradients(const RowFrame<T>& frame, size_t layer, bool balance, T* gradients);
  void SumNorms(T* gradients) const;
  void EmbeddingBackward(const PackedRow& row, T* gradients);

  const ParameterLayout& layout_;
  const size_t tokens_max_;
  ThreadPool* const pool_;
  Slab<T> slab_;
  std::vector<AttentionBlock<T>> attention_;
  std::vector<MlpBlock<T>> mlp_;
  std::vector<T*> hidden_;  // [2 * layers + 1] of [tokens, d_model]: before and between the blocks
  T* dx_ = nullptr;         // [tokens, d_model]
  T* cosines_ = nullptr;    // [tokens_max, head_dim / 2]
  T* sines_ = nullptr;
  T* head_rows_ = nullptr;  // of a round of tokens with loss: [round, d_model], like the two below
  T* head_normed_ = nullptr;
  T* head_drows_ = nullptr;
  T* head_inverse_ = nullptr;  // [round]
  T* logits_ = nullptr;        // [round, vocab]
  T* head_norms_ = nullptr;    // [blocks of the round, d_model], gradients of the final norm
  T* norms_ = nullptr;         // [spans, layers, norm_stride()]
  AttentionRows<T> attention_rows_;
  MlpRows<T> mlp_rows_;
  std::vector<ThreadScratch> scratch_;  // of each thread

  // Of the batch under way.
  std::vector<RowSpan> spans_;
  std::vector<size_t> order_;  // of spans_, the longest first
  std::vector<uint32_t> whole_;
};

}  // namespace tessera::trainer
