#include "common/kernels/rms_norm_row.h"
#include "common/kernels/vector_math_avx2.h"

namespace tessera::kernels {
namespace {

// 32 partial sums, so the error grows with cols / 32; the order depends on cols alone.
float SumOfSquares(const float* x, size_t cols) {
  __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                    _mm256_setzero_ps()};
  size_t i = 0;
  for (; i + 32 <= cols; i += 32) {
    for (size_t j = 0; j < 4; ++j) {
      const __m256 v = _mm256_loadu_ps(x + i + 8 * j);
      sums[j] = _mm256_fmadd_ps(v, v, sums[j]);
    }
  }
  for (; i < cols; i += 8) {
    const __m256 v = _mm256_maskload_ps(x + i, LaneMask(cols - i));
    sums[0] = _mm256_fmadd_ps(v, v, sums[0]);
  }
  return HorizontalSum(
      _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])));
}

template <bool kAdd>
void Norm(const float* x, const float* weight, float eps, size_t cols, float* out) {
  const float mean = SumOfSquares(x, cols) / static_cast<float>(cols);
  const __m256 factor =
      _mm256_div_ps(_mm256_set1_ps(1.0f), _mm256_sqrt_ps(_mm256_set1_ps(mean + eps)));
  size_t i = 0;
  for (; i + 8 <= cols; i += 8) {
    __m256 v =
        _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), factor), _mm256_loadu_ps(weight + i));
    if constexpr (kAdd) v = _mm256_add_ps(_mm256_loadu_ps(out + i), v);
    _mm256_storeu_ps(out + i, v);
  }
  if (i == cols) return;
  const __m256i mask = LaneMask(cols - i);
  __m256 v = _mm256_mul_ps(_mm256_mul_ps(_mm256_maskload_ps(x + i, mask), factor),
                           _mm256_maskload_ps(weight + i, mask));
  if constexpr (kAdd) v = _mm256_add_ps(_mm256_maskload_ps(out + i, mask), v);
  _mm256_maskstore_ps(out + i, mask, v);
}

}  // namespace

void NormRowAvx2(const float* x, const float* weight, float eps, size_t cols, float* out) {
  Norm<false>(x, weight, eps, cols, out);
}

void AddNormRowAvx2(const float* x, const float* weight, float eps, size_t cols, float* out) {
  Norm<true>(x, weight, eps, cols, out);
}

}  // namespace tessera::kernels
