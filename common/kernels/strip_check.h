#pragma once

// Whether the strips of a level compute what they should on the CPU at hand: a kernel may be right
// and the machine below it (a hypervisor, an emulator, tile registers that are not kept) not.

#include "absl/status/status.h"
#include "common/kernels/strip_kernels.h"

namespace tessera::kernels {

// Multiplies small integers with every kernel of `kernels`: all weight types, layouts and ways of
// converting rows, row counts for every path through registers and tiles. Scales are 1, and no sum
// exceeds 2^24: so every order of adding gives exactly the known result (int16 rows: within half
// their step). About 0.4 ms. kInternal names the first product that differs.
absl::Status CheckStrips(const StripKernels& kernels);

}  // namespace tessera::kernels
