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

// The input rows of a grouped product: a matrix, or rows that lie apart, each where it arrived.
// Borrows the memory, and the pointers.
class RowSource {
 public:
  RowSource(ConstMatrixView matrix) : matrix_(matrix), cols_(matrix.cols()) {}  // NOLINT: implicit
  RowSource(MatrixView matrix) : RowSource(ConstMatrixView(matrix)) {}          // NOLINT: implicit
  // rows[i]: `cols` numbers.
  RowSource(std::span<const float* const> rows, size_t cols) : apart_(rows), cols_(cols) {}

  size_t rows() const { return apart_.empty() ? matrix_.rows() : apart_.size(); }
  size_t cols() const { return cols_; }
  const float* row(size_t i) const { return apart_.empty() ? matrix_.row(i).data() : apart_[i]; }

 private:
  ConstMatrixView matrix_;
  std::span<const float* const> apart_;
  size_t cols_ = 0;
};

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
void GroupedSwiGlu(const Compute& compute, std::span<const ExpertGroup> groups, const RowSource& x,
                   MatrixView out);

}  // namespace tessera::kernels
