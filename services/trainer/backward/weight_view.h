#pragma once

// The weights of a step as products read them, and the three products of a linear layer.

#include <cstddef>

#include "services/trainer/backward/gemm.h"
#include "services/trainer/backward/parameters.h"

namespace tessera::trainer {

// Borrowed and constant during a step.
template <typename T>
struct WeightView {
  const T* values = nullptr;       // [layout.size]
  const T* packed = nullptr;       // [layout.packed_size], by PackLinear
  const T* expert_bias = nullptr;  // [MoE layers, experts]
};

// Panels of matrices [begin, end) of `linear` (end <= count).
template <typename T>
void PackLinear(const Linear& linear, size_t begin, size_t end, const T* values, T* packed) {
  const size_t size = linear.out * linear.in, panels = PanelSize(linear.in, linear.out);
  for (size_t i = begin; i < end; ++i) {
    PackPanelsTransposed(values + linear.offset + i * size, linear.in, linear.in, linear.out,
                         packed + linear.packed + i * panels);
  }
  if (linear.count == 1 && begin < end) {
    PackPanels(values + linear.offset, linear.in, linear.out, linear.in,
               packed + linear.packed_back);
  }
}

// y [rows, out] = x [rows, in] W^T; `index`: which expert.
template <typename T>
void LinearForward(const Linear& linear, size_t index, const WeightView<T>& weights, size_t rows,
                   const T* x, T* y) {
  const T* panels = weights.packed + linear.packed + index * PanelSize(linear.in, linear.out);
  Gemm(rows, linear.out, linear.in, Rows(x, linear.in), Panels(panels, linear.in), y, linear.out,
       GemmMode::kSet);
}

// dx [rows, in] (+)= dy [rows, out] W.
template <typename T>
void LinearBackInput(const Linear& linear, size_t index, const WeightView<T>& weights, size_t rows,
                     const T* dy, T* dx, GemmMode mode) {
  const T* rows_of_w = weights.values + linear.offset + index * linear.out * linear.in;
  const GemmRight<T> right = linear.count == 1
                                 ? Panels(weights.packed + linear.packed_back, linear.out)
                                 : RightRows(rows_of_w, linear.in);
  Gemm(rows, linear.in, linear.out, Rows(dy, linear.out), right, dx, linear.in, mode);
}

// dW [out, in] (+)= dy^T x.
template <typename T>
void LinearBackWeight(const Linear& linear, size_t index, size_t rows, const T* dy, const T* x,
                      GemmMode mode, T* gradients) {
  Gemm(linear.out, linear.in, rows, Transposed(dy, linear.out), RightRows(x, linear.in),
       gradients + linear.offset + index * linear.out * linear.in, linear.in, mode);
}

}  // namespace tessera::trainer
