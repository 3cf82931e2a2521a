#pragma once

// The products of gemm.h by instruction set. All levels give the same bits: a number of C is one
// chain of fused multiply-adds for each 256 of the inner dimension, in ascending order, whatever
// the width of a register. Internal to this room; gemm.cc chooses, the tests compare.

#include <cstddef>

#include "services/trainer/backward/gemm.h"

namespace tessera::trainer {

bool CpuHasAvx512();

// Only on a CPU that can train (CpuCanTrain).
void GemmAvx2(size_t m, size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b, float* c,
              size_t c_stride, GemmMode mode);
void SymmetricGemmAvx2(size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b, float* c);

// Only on a CPU that has AVX-512 too (CpuHasAvx512).
void GemmAvx512(size_t m, size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b, float* c,
                size_t c_stride, GemmMode mode);
void SymmetricGemmAvx512(size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b, float* c);

// What lies below the diagonal of C [n, n] from what lies above it, in squares of eight where they
// are whole; such squares on the diagonal stay as they are. Any CPU that can train.
void MirrorUpper(size_t n, float* c);

}  // namespace tessera::trainer
