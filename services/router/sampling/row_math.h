#pragma once

// Passes over one row of logits (200192 floats for Trinity): searches by common/kernels, the others
// written so that the compiler turns each into vector code. The result of each depends on the row
// only. Thread-safe: they touch only their arguments.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tessera::router {

// The index of the first NaN or infinity; values.size() if there is none.
size_t FirstNonFinite(std::span<const float> values);

// Minus infinity for no values. No value is NaN.
float MaxOf(std::span<const float> values);

// The index of the largest value, the first of equals. Not empty, no NaN.
size_t ArgMax(std::span<const float> values);

// How many values are above `bound`.
size_t CountAbove(std::span<const float> values, float bound);

// exp(x) for x <= 0, relative error below 3e-7; 0 below -87 (1.6e-38).
float ExpNonPositive(float x);

// out[i] = exp((values[i] - max) * scale), returns the sum in float64. max is the largest value,
// finite; scale > 0. `out` [values] or empty: only the sum.
double ExpShifted(std::span<const float> values, float max, float scale, std::span<float> out);

// The `count` largest values, largest first, equals by index; all of them if there are fewer.
// No value is NaN.
std::vector<uint32_t> LargestIndices(std::span<const float> values, size_t count);

}  // namespace tessera::router
