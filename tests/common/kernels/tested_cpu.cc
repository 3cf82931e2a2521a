#include "tests/common/kernels/tested_cpu.h"

namespace tessera::kernels {

CpuFeatures TestedCpu() { return DetectCpuFeatures(); }

}  // namespace tessera::kernels
