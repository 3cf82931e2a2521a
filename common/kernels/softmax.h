#pragma once

#include <span>

namespace tessera::kernels {

// In place: exp(v - max) / sum. Minus infinity gives 0. At least one value must be finite.
void Softmax(std::span<float> values);

// log(sum(exp(v))), stable; for logprobs.
double LogSumExp(std::span<const float> values);

}  // namespace tessera::kernels
