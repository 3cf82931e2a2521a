#pragma once

// The second half of a layer: norm, dense network or shared and routed experts, norm, residual.
// Each way has two parts; the routed experts work between them, on the rows of all spans.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "services/trainer/backward/moe.h"

namespace tessera::trainer {

// What a batch writes on its way through a layer and no other layer needs; spans write their own
// rows.
template <typename T>
struct MlpRows {
  size_t width;  // the largest of any layer
  T* act;        // [tokens, width]
  T* dact;       // [tokens, width]
  T* dgate_up;   // [tokens, 2 * width]
  T* dm;         // [tokens, d_model]
  T* dh;         // [tokens, d_model]
  MoeRows<T> moe;
  void Take(Slab<T>& slab, const ModelSpec& spec, size_t tokens_max);
};

// What one layer keeps for the way back. Different spans may run side by side.
template <typename T>
class MlpBlock {
 public:
  MlpBlock(const ModelSpec& spec, size_t layer, size_t tokens_max, Slab<T>& slab);

  // Up to the experts, and from them on. after [tokens, d_model] = x + ..; x must stay as it is
  // until the way back is done.
  void ForwardToExperts(const RowFrame<T>& frame, const RowSpan& span, const T* x,
                        const MlpRows<T>& rows);
  void ForwardFromExperts(const RowFrame<T>& frame, const RowSpan& span, const T* x, T* after,
                          const MlpRows<T>& rows);
  // dx: of `after` before, of x behind the second part. balance_weight: see Moe.
  void BackwardToExperts(const RowFrame<T>& frame, const RowSpan& span, const T* dx,
                         const NormGradients<T>& norms, const MlpRows<T>& rows);
  void BackwardFromExperts(const RowFrame<T>& frame, const RowSpan& span, const T* x,
                           T balance_weight, T* dx, const NormGradients<T>& norms,
                           const MlpRows<T>& rows);
  // The products that are left after BackwardToExperts of all spans.
  void AppendGradients(const RowFrame<T>& frame, const MlpRows<T>& rows,
                       std::vector<WeightGradient<T>>& products) const;

  // Null in a dense layer.
  Moe<T>* moe() { return moe_ ? &*moe_ : nullptr; }
  const T* h() const { return h_; }  // [tokens, d_model], what the experts see

 private:
  const ModelSpec& spec_;
  const size_t layer_;
  const size_t width_;  // of the dense or shared network; 0: none
  T* h_;                // [tokens, d_model]
  T* inverse_h_;        // [tokens]
  T* gate_up_;          // [tokens, 2 * width]
  T* m_;                // [tokens, d_model]
  T* inverse_m_;        // [tokens]
  std::optional<Moe<T>> moe_;
};

}  // namespace tessera::trainer
