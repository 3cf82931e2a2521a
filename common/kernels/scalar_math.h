#pragma once

// The plain forms of the functions in vector_math_avx2.h: what the reference files use and the
// tests compare with. Internal to this room.

#include <cmath>

namespace tessera::kernels {

inline float Sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }
inline float Silu(float x) { return x / (1.0f + std::exp(-x)); }

}  // namespace tessera::kernels
