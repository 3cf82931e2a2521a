#pragma once

// The first half of a layer: norm, attention with its output gate, norm, residual.
//
//   x --norm--> h --q,k,v,gate--> per head norm, RoPE in sliding layers --> attention *
//   sigmoid(gate)
//     --output--> y --norm--> + x

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "services/trainer/backward/attention.h"
#include "services/trainer/backward/parameters.h"
#include "services/trainer/backward/slab.h"
#include "services/trainer/backward/weight_view.h"

namespace tessera::trainer {

// A batch as its layers see it. Borrowed.
template <typename T>
struct RowFrame {
  const ParameterLayout& layout;
  WeightView<T> weights;
  size_t tokens;
  const T* cosines;  // [tokens_max, head_dim / 2], by position in the document
  const T* sines;
  std::span<const uint32_t> sequences;  // what the balance loss is of: where each begins, and the
                                        // end of the last; empty: it is not wanted
};

// Whole documents of a batch: what one thread takes through a layer at once. Spans need nothing of
// each other but the experts' results.
struct RowSpan {
  size_t index = 0;
  size_t begin = 0;  // token
  size_t end = 0;
  std::span<const uint32_t> documents;  // where each begins, and the end of the last

  size_t size() const { return end - begin; }
};

// Gradients of a layer's norms that one span adds to.
template <typename T>
struct NormGradients {
  T* input;
  T* post_attention;
  T* pre_mlp;
  T* post_mlp;
  T* query;
  T* key;
};

// What a batch writes on its way through a layer and no other layer needs; spans write their own
// rows.
template <typename T>
struct AttentionRows {
  T* gated;    // [tokens, query_width]
  T* dgated;   // [tokens, query_width]
  T* dqkvg;    // [tokens, qkvg]
  T* doutput;  // [tokens, query_width]
  T* dy;       // [tokens, d_model]
  T* dh;       // [tokens, d_model]
  void Take(Slab<T>& slab, const ModelSpec& spec, size_t tokens_max);
};

// What one layer keeps for the way back. Different spans may run side by side.
template <typename T>
class AttentionBlock {
 public:
  AttentionBlock(const ModelSpec& spec, size_t layer, size_t tokens_max, Slab<T>& slab);

  // after [tokens, d_model] = x + ..; x must stay as it is until Backward.
  void Forward(const RowFrame<T>& frame, const RowSpan& span, const T* x, T* after,
               const AttentionRows<T>& rows, const AttentionScratch<T>& scratch);
  // dx [tokens, d_model]: of `after` before the call, of x after it.
  void Backward(const RowFrame<T>& frame, const RowSpan& span, const T* x, T* dx,
                const NormGradients<T>& norms, const AttentionRows<T>& rows,
                const AttentionScratch<T>& scratch);
  // The products that are left after Backward of all spans.
  void AppendGradients(const RowFrame<T>& frame, const AttentionRows<T>& rows,
                       std::vector<WeightGradient<T>>& products) const;

 private:
  AttentionShape shape() const;
  AttentionInput<T> Input() const;
  void RotateHeads(const RowFrame<T>& frame, const RowSpan& span, bool backwards, Strided<T> query,
                   Strided<T> key) const;
  void HeadNormsForward(const RowFrame<T>& frame, const RowSpan& span);
  void HeadNormsBackward(const RowFrame<T>& frame, const RowSpan& span, Strided<T> dqkvg,
                         const NormGradients<T>& norms) const;

  const ModelSpec& spec_;
  const size_t layer_;
  const size_t tokens_max_;
  T* h_;              // [tokens, d_model]
  T* inverse_h_;      // [tokens]
  T* qkvg_;           // [tokens, query + key + value + gate]
  T* query_;          // [tokens, query_width], normed and turned
  T* key_;            // [tokens, kv_width]
  T* inverse_query_;  // [query_heads, tokens_max]
  T* inverse_key_;    // [kv_heads, tokens_max]
  T* log_sums_;       // [query_heads, tokens_max]
  T* attended_;       // [tokens, query_width]
  T* y_;              // [tokens, d_model]
  T* inverse_y_;      // [tokens]
};

}  // namespace tessera::trainer
