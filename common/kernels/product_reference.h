#pragma once

// The matrix products in plain C++ with sums in double: the oracle, and Isa::kReference. Internal
// to this room.

#include <span>

#include "common/kernels/matmul.h"
#include "common/kernels/swiglu.h"

namespace tessera::kernels {

void MatMulReference(std::span<const MatMulTask> tasks);
void SwiGluReference(const SwiGluWeights& weights, ConstMatrixView x, MatrixView y);
void GroupedSwiGluReference(std::span<const ExpertGroup> groups, const RowSource& x,
                            MatrixView out);

}  // namespace tessera::kernels
