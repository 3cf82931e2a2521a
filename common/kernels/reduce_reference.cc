#include <cmath>
#include <limits>

#include "common/kernels/reduce_loops.h"

namespace tessera::kernels {

float MaxOfReference(const float* values, size_t count) {
  float max = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < count; ++i) {
    if (values[i] > max) max = values[i];
  }
  return max;
}

size_t FirstAboveReference(const float* values, size_t begin, size_t count, float bound) {
  while (begin < count && !(values[begin] > bound)) ++begin;
  return begin;
}

size_t FirstAtLeastReference(const float* values, size_t begin, size_t count, float bound) {
  while (begin < count && !(values[begin] >= bound)) ++begin;
  return begin;
}

bool AllFiniteReference(const float* values, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) return false;
  }
  return true;
}

}  // namespace tessera::kernels
