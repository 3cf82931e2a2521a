#include <cmath>

#include "common/kernels/rope_row.h"

namespace tessera::kernels {

void RopeAnglesReference(const float* frequencies, size_t half, float position, float* cosines,
                         float* sines) {
  for (size_t i = 0; i < half; ++i) {
    const float angle = position * frequencies[i];
    cosines[i] = std::cos(angle);
    sines[i] = std::sin(angle);
  }
}

void RopeRotateReference(const float* cosines, const float* sines, size_t half, size_t heads,
                         float* x) {
  for (size_t head = 0; head < heads; ++head) {
    float* const first = x + head * 2 * half;
    float* const second = first + half;
    for (size_t i = 0; i < half; ++i) {
      const float a = first[i];
      const float b = second[i];
      first[i] = a * cosines[i] - b * sines[i];
      second[i] = b * cosines[i] + a * sines[i];
    }
  }
}

}  // namespace tessera::kernels
