#include "services/trainer/backward/gemm.h"

#include "services/trainer/backward/gemm_levels.h"

namespace tessera::trainer {

bool CpuCanTrain() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool CpuHasAvx512() { return __builtin_cpu_supports("avx512f"); }

template <>
void Gemm<float>(size_t m, size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b, float* c,
                 size_t c_stride, GemmMode mode) {
  CpuHasAvx512() ? GemmAvx512(m, n, k, a, b, c, c_stride, mode)
                 : GemmAvx2(m, n, k, a, b, c, c_stride, mode);
}

void SymmetricGemm(size_t n, size_t k, GemmLeft<float> a, GemmRight<float> b, float* c) {
  CpuHasAvx512() ? SymmetricGemmAvx512(n, k, a, b, c) : SymmetricGemmAvx2(n, k, a, b, c);
}

}  // namespace tessera::trainer
