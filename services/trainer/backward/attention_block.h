#pragma once

// The first half of a layer: norm, attention with its output gate, norm, residual.
//
//   x --norm--> h --q,k,v,gate--> per head norm, RoPE in sliding layers --> attention *
//   sigmoid(gate)
//     --output--> y --norm--> + x

#include <cstddef>
#include <cstdint>
#include <span>

#include "services/trainer/backward/attention.h"
#include "services/trainer/backward/parameters.h"
#include "services/trainer/backward/slab.h"
#include "services/trainer/backward/weight_view.h"

namespace tessera::trainer {

// One row of a batch as its layers see it. Borrowed.
template <typename T>
struct RowFrame {
  const ParameterLayout& layout;
  WeightView<T> weights;
  size_t tokens;
  std::span<const uint32_t> documents;  // where each begins, and the end of the last
  const T* cosines;                     // [tokens_max, head_dim / 2], by position in the document
  const T* sines;
  bool balance = false;  // the balance loss is wanted
};

template <typename T>
struct AttentionScratchRows {
  T* gated;    // [tokens, query_width]
  T* dgated;   // [tokens, query_width]
  T* dqkvg;    // [tokens, qkvg]
  T* doutput;  // [tokens, query_width]
  T* dy;       // [tokens, d_model]
  AttentionScratch<T> attention;
  void Take(Slab<T>& slab, const ModelSpec& spec, size_t tokens_max);
};

// What one layer keeps for the way back.
template <typename T>
class AttentionBlock {
 public:
  AttentionBlock(const ModelSpec& spec, size_t layer, size_t tokens_max, Slab<T>& slab);

  // after [tokens, d_model] = x + ..; x must stay as it is until Backward.
  void Forward(const RowFrame<T>& frame, const T* x, T* after,
               const AttentionScratchRows<T>& scratch);
  // dx [tokens, d_model]: of `after` before the call, of x after it.
  void Backward(const RowFrame<T>& frame, const T* x, T* dx, T* gradients,
                const AttentionScratchRows<T>& scratch);

 private:
  AttentionShape shape() const;
  AttentionInput<T> Input() const;
  void RotateHeads(const RowFrame<T>& frame, bool backwards, Strided<T> query,
                   Strided<T> key) const;

  const ModelSpec& spec_;
  const size_t layer_;
  T* h_;              // [tokens, d_model]
  T* inverse_h_;      // [tokens]
  T* qkvg_;           // [tokens, query + key + value + gate]
  T* query_;          // [tokens, query_width], normed and turned
  T* key_;            // [tokens, kv_width]
  T* inverse_query_;  // [query_heads, tokens]
  T* inverse_key_;    // [kv_heads, tokens]
  T* log_sums_;       // [query_heads, tokens]
  T* attended_;       // [tokens, query_width]
  T* y_;              // [tokens, d_model]
  T* inverse_y_;      // [tokens]
};

}  // namespace tessera::trainer
