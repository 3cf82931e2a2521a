#pragma once

// Names of what results depend on: instruction set and arithmetic.

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/kernels/compute.h"

namespace tessera::kernels {

std::string_view NameOf(Arithmetic arithmetic);  // "float32", "fast"
// kInvalidArgument for another name.
absl::StatusOr<Arithmetic> ParseArithmetic(std::string_view name);

// "avx2 float32", "avx512+vnni fast": processes of equal levels compute the same bits.
std::string LevelName(Isa isa, const CpuFeatures& features, Arithmetic arithmetic);

}  // namespace tessera::kernels
