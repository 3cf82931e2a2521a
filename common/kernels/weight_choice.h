#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/kernels/compute.h"
#include "common/kernels/weight_matrix.h"
#include "common/tensor/dtype.h"

namespace tessera::kernels {

// The number format somebody asked for: as the checkpoint stores it, or converted at load.
enum class WeightChoice : uint8_t { kAuto, kF32, kBF16, kQ8, kQ4 };

// "auto", "f32", "bf16", "q8", "q4"; kInvalidArgument for anything else, naming these.
absl::StatusOr<WeightChoice> ParseWeightChoice(std::string_view name);
std::string_view NameOf(WeightChoice choice);

// What a tensor of `stored` is kept in. kAuto keeps F32 and BF16 as they are. F16 and scaled FP8
// have no packed form of their own: exact float32 arithmetic widens them to f32, fast arithmetic
// rounds them to bf16.
WeightType ResolveWeightType(WeightChoice choice, DType stored, Arithmetic arithmetic);

}  // namespace tessera::kernels
