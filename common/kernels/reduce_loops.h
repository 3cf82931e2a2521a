#pragma once

// The loops behind reduce.h and TopK, per level. Internal to this room.

#include <cstddef>

namespace tessera::kernels {

// The largest value, NaN passed over; minus infinity for none.
float MaxOfReference(const float* values, size_t count);
float MaxOfAvx2(const float* values, size_t count);

// The first index in [begin, count) whose value is > (>=) bound; count if there is none.
size_t FirstAboveReference(const float* values, size_t begin, size_t count, float bound);
size_t FirstAboveAvx2(const float* values, size_t begin, size_t count, float bound);
size_t FirstAtLeastReference(const float* values, size_t begin, size_t count, float bound);
size_t FirstAtLeastAvx2(const float* values, size_t begin, size_t count, float bound);

bool AllFiniteReference(const float* values, size_t count);
bool AllFiniteAvx2(const float* values, size_t count);

}  // namespace tessera::kernels
