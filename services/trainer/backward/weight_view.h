#pragma once

// The weights of a step as products read them, and the three products of a linear layer.

#include <algorithm>
#include <cstddef>
#include <vector>

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

// Panels of a matrix; nothing for experts, whose panels are made where they are used
// (ExpertPanels).
template <typename T>
void PackLinear(const Linear& linear, const T* values, T* packed) {
  if (linear.count > 1) return;
  PackPanelsTransposed(values + linear.offset, linear.in, linear.in, linear.out,
                       packed + linear.packed);
  PackPanels(values + linear.offset, linear.in, linear.out, linear.in, packed + linear.packed_back);
}

// y [rows, out] = x [rows, in] W^T.
template <typename T>
void LinearForward(const Linear& linear, const WeightView<T>& weights, size_t rows, const T* x,
                   T* y) {
  Gemm(rows, linear.out, linear.in, Rows(x, linear.in),
       Panels(weights.packed + linear.packed, linear.in), y, linear.out, GemmMode::kSet);
}

// dx [rows, in] (+)= dy [rows, out] W.
template <typename T>
void LinearBackInput(const Linear& linear, const WeightView<T>& weights, size_t rows, const T* dy,
                     T* dx, GemmMode mode = GemmMode::kSet) {
  Gemm(rows, linear.in, linear.out, Rows(dy, linear.out),
       Panels(weights.packed + linear.packed_back, linear.out), dx, linear.in, mode);
}

// One expert's panels, made where they are used: panels of all experts would go through memory
// twice more a step.
template <typename T>
class ExpertPanels {
 public:
  // `panels` [PanelSize(in, out)] is borrowed.
  ExpertPanels(const Linear& linear, size_t expert, const WeightView<T>& weights, T* panels)
      : linear_(linear), panels_(panels) {
    PackPanelsTransposed(weights.values + linear.offset + expert * linear.out * linear.in,
                         linear.in, linear.in, linear.out, panels);
  }
  // y [rows, out] = x [rows, in] W^T.
  void Forward(size_t rows, const T* x, T* y) const {
    Gemm(rows, linear_.out, linear_.in, Rows(x, linear_.in), Panels(panels_, linear_.in), y,
         linear_.out, GemmMode::kSet);
  }

 private:
  const Linear& linear_;
  const T* panels_;
};

// dx [rows, in] = dy [rows, out] W.
template <typename T>
void ExpertBackInput(const Linear& linear, size_t expert, const WeightView<T>& weights, size_t rows,
                     const T* dy, T* dx) {
  Gemm(rows, linear.in, linear.out, Rows(dy, linear.out),
       RightRows(weights.values + linear.offset + expert * linear.out * linear.in, linear.in), dx,
       linear.in, GemmMode::kSet);
}
// dW [out, in] (+)= dy^T x.
template <typename T>
void ExpertBackWeight(const Linear& linear, size_t expert, size_t rows, const T* dy, const T* x,
                      GemmMode mode, T* gradients) {
  Gemm(linear.out, linear.in, rows, Transposed(dy, linear.out), RightRows(x, linear.in),
       gradients + linear.offset + expert * linear.out * linear.in, linear.in, mode);
}

// A part of dW [out, in] (+)= dy^T x: its rows [begin, end), of all tokens. Parts may run side by
// side, and no sum depends on who computes it.
template <typename T>
struct WeightGradient {
  const Linear* linear;
  size_t begin;
  size_t end;
  size_t rows;
  const T* dy;  // [rows, out]
  const T* x;   // [rows, in]
  GemmMode mode;
};
template <typename T>
void AppendGradient(const Linear& linear, size_t rows, const T* dy, const T* x,
                    std::vector<WeightGradient<T>>& products, GemmMode mode = GemmMode::kSet) {
  constexpr size_t kOutAtOnce = 96;
  for (size_t begin = 0; begin < linear.out; begin += kOutAtOnce) {
    products.push_back(
        {&linear, begin, std::min(begin + kOutAtOnce, linear.out), rows, dy, x, mode});
  }
}
template <typename T>
void ComputeGradient(const WeightGradient<T>& product, T* gradients) {
  const Linear& linear = *product.linear;
  Gemm(product.end - product.begin, linear.in, product.rows,
       Transposed(product.dy + product.begin, linear.out), RightRows(product.x, linear.in),
       gradients + linear.offset + product.begin * linear.in, linear.in, product.mode);
}

}  // namespace tessera::trainer
