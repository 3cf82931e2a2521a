#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/kernels/compute.h"
#include "common/tensor/matrix_view.h"

namespace tessera::kernels {

// Rotary position embedding, rotate-half pairing: dimension j turns with j + head_dim/2 by
// position * theta^(-2j/head_dim). Su et al., "RoFormer", 2021. Angles are float32 products of a
// float64 frequency rounded once; cos and sin are float32. Immutable: thread-safe.
class Rope {
 public:
  // head_dim even, > 0; theta > 0.
  Rope(size_t head_dim, double theta);
  // x [rows, heads * head_dim], in place; positions [rows].
  void Apply(const Compute& compute, std::span<const uint32_t> positions, MatrixView x) const;

 private:
  size_t head_dim_;
  std::vector<float> inverse_frequencies_;  // [head_dim / 2]
};

}  // namespace tessera::kernels
