#include <cmath>

#include "common/kernels/rms_norm_row.h"

namespace tessera::kernels {
namespace {

float InverseRms(const float* x, float eps, size_t cols) {
  double sum = 0;
  for (size_t i = 0; i < cols; ++i) sum += static_cast<double>(x[i]) * x[i];
  return static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(cols) + eps));
}

}  // namespace

void NormRowReference(const float* x, const float* weight, float eps, size_t cols, float* out) {
  const float factor = InverseRms(x, eps, cols);
  for (size_t i = 0; i < cols; ++i) out[i] = x[i] * factor * weight[i];
}

void AddNormRowReference(const float* x, const float* weight, float eps, size_t cols, float* out) {
  const float factor = InverseRms(x, eps, cols);
  for (size_t i = 0; i < cols; ++i) out[i] += x[i] * factor * weight[i];
}

}  // namespace tessera::kernels
