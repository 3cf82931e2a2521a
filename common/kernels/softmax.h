#pragma once

#include <span>

#include "common/kernels/compute.h"
#include "common/kernels/reduce.h"

namespace tessera::kernels {

// In place: exp(v - max) / sum. Minus infinity gives 0. At least one value must be finite.
void Softmax(std::span<float> values, Isa isa = LocalIsa());

// log(sum(exp(v))), stable; for logprobs. Minus infinity for no values or nothing but minus
// infinities; infinity if there is one.
double LogSumExp(std::span<const float> values, Isa isa = LocalIsa());

}  // namespace tessera::kernels
