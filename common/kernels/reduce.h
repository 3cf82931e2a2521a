#pragma once

// Searches over one long row of numbers, such as the logits of a vocabulary. All run on the caller.

#include <cstddef>
#include <span>

#include "common/kernels/compute.h"

namespace tessera::kernels {

// kAvx2 where this CPU has it, else kReference: the level of the functions that work without a
// Compute. Cheap: reads what the process found out about its CPU at start.
Isa LocalIsa();

// The largest value. NaN is passed over; minus infinity for no values.
float MaxOf(std::span<const float> values, Isa isa = LocalIsa());

// The index of the largest value, ties to the lower index. NaN is passed over; a row of nothing but
// NaN gives 0. `values` must not be empty.
size_t ArgMax(std::span<const float> values, Isa isa = LocalIsa());

// Neither NaN nor infinity anywhere; true for no values.
bool AllFinite(std::span<const float> values, Isa isa = LocalIsa());

}  // namespace tessera::kernels
