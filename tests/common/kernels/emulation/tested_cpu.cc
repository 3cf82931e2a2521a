#include "tests/common/kernels/tested_cpu.h"

namespace tessera::kernels {

CpuFeatures TestedCpu() {
  return {.avx2 = DetectCpuFeatures().avx2,
          .avx512 = true,
          .avx512_bf16 = true,
          .avx512_vnni = true,
          .amx = true};
}

}  // namespace tessera::kernels
