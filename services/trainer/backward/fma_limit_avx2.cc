#include <immintrin.h>

#include "services/trainer/backward/fma_limit.h"

namespace tessera::trainer {

float SpinFmas(size_t rounds) {
  // Twelve chains: two units times a latency of up to six cycles.
  __m256 sum[12];
  for (__m256& s : sum) s = _mm256_setzero_ps();
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (size_t i = 0; i < rounds; ++i) {
    for (__m256& s : sum) s = _mm256_fmadd_ps(s, a, b);
  }
  __m256 total = sum[0];
  for (size_t i = 1; i < 12; ++i) total = _mm256_add_ps(total, sum[i]);
  return _mm256_cvtss_f32(total);
}

}  // namespace tessera::trainer
