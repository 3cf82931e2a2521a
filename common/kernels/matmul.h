#pragma once

#include <span>

#include "common/kernels/compute.h"
#include "common/kernels/weight_matrix.h"
#include "common/tensor/matrix_view.h"

namespace tessera::kernels {

// y = x W^T for one matrix. x [rows, inputs], y [rows, outputs]; both float32; they may not
// overlap.
struct MatMulTask {
  const WeightMatrix* weights;
  ConstMatrixView x;
  MatrixView y;
};

// Runs all tasks in one parallel region (query, key, value and gate projections of one layer: one
// barrier). Tasks with the same x (same data pointer, rows, stride) share its conversion.
//
// A row's result depends on that row, the weights, and compute.{isa, features, arithmetic} only:
// not on the number of threads, nor (with compute.batch_invariant) on how many rows share the call.
void MatMul(const Compute& compute, std::span<const MatMulTask> tasks);

}  // namespace tessera::kernels
