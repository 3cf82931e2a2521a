#pragma once

// The second half of a layer: norm, dense network or shared and routed experts, norm, residual.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "services/trainer/backward/moe.h"

namespace tessera::trainer {

template <typename T>
struct MlpScratch {
  T* act;       // [tokens, width]
  T* dact;      // [tokens, width]
  T* dgate_up;  // [tokens, 2 * width]
  T* dm;        // [tokens, d_model]
  T* dh;        // [tokens, d_model]
  MoeScratch<T> moe;
  void Take(Slab<T>& slab, const ModelSpec& spec, size_t tokens_max);
};

// What one layer keeps for the way back.
template <typename T>
class MlpBlock {
 public:
  MlpBlock(const ModelSpec& spec, size_t layer, size_t tokens_max, Slab<T>& slab);

  // after [tokens, d_model] = x + ..; x must stay as it is until Backward.
  void Forward(const RowFrame<T>& frame, const T* x, T* after, const MlpScratch<T>& scratch);
  // dx: of `after` before the call, of x after it. balance_weight: see Moe.
  void Backward(const RowFrame<T>& frame, const T* x, T balance_weight, T* dx, T* gradients,
                const MlpScratch<T>& scratch);

  // Null in a dense layer.
  const Moe<T>* moe() const { return moe_ ? &*moe_ : nullptr; }

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
