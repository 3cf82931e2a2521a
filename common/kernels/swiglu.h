#pragma once

// Feed-forward networks: y = down(silu(gate x) * (up x)).  silu(v) = v / (1 + exp(-v)).
// Shazeer, "GLU Variants Improve Transformer", 2020.

#include <cstdint>
#include <span>

#include "common/kernels/compute.h"
#include "common/kernels/weight_matrix.h"
#include "common/tensor/aligned_buffer.h"
#include "common/tensor/matrix_view.h"

namespace tessera::kernels {

// One network: either gate_up (woven, packed) or gate and up apart (straight from a map), and down
// [d_model, width].
struct SwiGluWeights {
  WeightMatrix gate_up;
  WeightMatrix gate;
  WeightMatrix up;
  WeightMatrix down;
  size_t d_model() const { return down.outputs(); }
  size_t width() const { return down.inputs(); }
  size_t size_bytes() const {
    return gate_up.size_bytes() + gate.size_bytes() + up.size_bytes() + down.size_bytes();
  }
};

// The same network on every row: dense layers and shared experts. x, y [rows, d_model]; they may
// not overlap.
void SwiGlu(const Compute& compute, const SwiGluWeights& weights, ConstMatrixView x, MatrixView y);

// Rows of one call that go through one network. Row r of `rows` names a row of x.
struct ExpertGroup {
  const SwiGluWeights* weights;
  std::span<const uint32_t> rows;      // indices into x
  std::span<const float> row_weights;  // factor of each row's result
};

// The grouped expert product: for every group g in order and every row r of it
//     out.row(p) = g.row_weights[i] * SwiGlu(*g.weights, x.row(g.rows[i]))    with p the running
//     pair number,
// so out is [sum of group sizes, d_model], unsummed, expert-major. Each expert's weights are read
// once for all its rows. Experts are shared out among threads; when fewer experts than threads
// remain they are split by outputs. The same promise as MatMul: a pair's bits do not depend on its
// company.
void GroupedSwiGlu(const Compute& compute, std::span<const ExpertGroup> groups, ConstMatrixView x,
                   MatrixView out);

}  // namespace tessera::kernels
