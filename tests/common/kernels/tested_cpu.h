#pragma once

#include "common/device/cpu_features.h"

namespace tessera::kernels {

// What the kernels of this test program may use: what the CPU has, and in the program that emulates
// instructions everything.
CpuFeatures TestedCpu();

}  // namespace tessera::kernels
