#pragma once

#include <span>

#include "common/kernels/compute.h"
#include "common/tensor/matrix_view.h"

namespace tessera::kernels {

// out = x / sqrt(mean(x^2) + eps) * weight, per row; float32, one rounding at the end. weight
// [cols]. Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019. out may be x itself.
void RmsNorm(const Compute& compute, ConstMatrixView x, std::span<const float> weight, float eps,
             MatrixView out);

// hidden += RmsNorm(x): the second half of a sandwich norm.
void AddRmsNorm(const Compute& compute, ConstMatrixView x, std::span<const float> weight, float eps,
                MatrixView hidden);

// Norm of each head apart: x [rows, heads * head_dim] in place, weight [head_dim].
void RmsNormHeads(const Compute& compute, MatrixView x, std::span<const float> weight, float eps);

}  // namespace tessera::kernels
