#pragma once

// One row of the RMS norms, per level. Internal to this room.

#include <cstddef>

namespace tessera::kernels {

// out = x / sqrt(mean(x^2) + eps) * weight; x, weight, out [cols]. out may be x itself.
using NormRow = void (*)(const float* x, const float* weight, float eps, size_t cols, float* out);

void NormRowReference(const float* x, const float* weight, float eps, size_t cols, float* out);
void NormRowAvx2(const float* x, const float* weight, float eps, size_t cols, float* out);

// out += the same.
void AddNormRowReference(const float* x, const float* weight, float eps, size_t cols, float* out);
void AddNormRowAvx2(const float* x, const float* weight, float eps, size_t cols, float* out);

}  // namespace tessera::kernels
