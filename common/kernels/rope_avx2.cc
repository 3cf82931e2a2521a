#include "common/kernels/rope_row.h"
#include "common/kernels/vector_math_avx2.h"

namespace tessera::kernels {
namespace {

struct SinCos {
  __m256 sin;
  __m256 cos;
};

// For 0 <= angle <= 2^19. With n the nearest multiple of pi/2 (n < 2^19), r = angle - n * high is
// exact: both terms are multiples of 2^-23 and the difference is below 1. The second part of pi/2
// then leaves an error of 2^19 * 1e-15. Taylor series on |r| <= pi/4 + 0.02: the terms left out are
// below 3e-9 (sine, r^11) and 2e-10 (cosine, r^12).
SinCos SinCosOf(__m256 angle) {
  const __m256 n =
      _mm256_round_ps(_mm256_mul_ps(angle, _mm256_set1_ps(0.636619772367581343f)), kRoundNearest);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(1.57079637050628662f), angle);
  r = _mm256_fmadd_ps(n, _mm256_set1_ps(4.37113900018624e-8f), r);
  const __m256 square = _mm256_mul_ps(r, r);

  __m256 s = _mm256_set1_ps(2.755731922398589e-6f);
  s = _mm256_fmadd_ps(s, square, _mm256_set1_ps(-1.984126984126984e-4f));
  s = _mm256_fmadd_ps(s, square, _mm256_set1_ps(8.333333333333333e-3f));
  s = _mm256_fmadd_ps(s, square, _mm256_set1_ps(-1.666666666666667e-1f));
  s = _mm256_fmadd_ps(_mm256_mul_ps(s, square), r, r);

  __m256 c = _mm256_set1_ps(-2.755731922398589e-7f);
  c = _mm256_fmadd_ps(c, square, _mm256_set1_ps(2.480158730158730e-5f));
  c = _mm256_fmadd_ps(c, square, _mm256_set1_ps(-1.388888888888889e-3f));
  c = _mm256_fmadd_ps(c, square, _mm256_set1_ps(4.166666666666667e-2f));
  c = _mm256_fmadd_ps(c, square, _mm256_set1_ps(-0.5f));
  c = _mm256_fmadd_ps(c, square, _mm256_set1_ps(1.0f));

  // Quarter turns: odd ones swap sine and cosine; bit 1 of n turns the sine's sign, bit 1 of n + 1
  // the cosine's.
  const __m256i quarter = _mm256_cvtps_epi32(n);
  const __m256i one = _mm256_set1_epi32(1);
  const __m256 swap = _mm256_castsi256_ps(_mm256_slli_epi32(quarter, 31));
  const __m256i two = _mm256_set1_epi32(2);
  const __m256 sin_sign =
      _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_and_si256(quarter, two), 30));
  const __m256 cos_sign = _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_and_si256(_mm256_add_epi32(quarter, one), two), 30));
  return {.sin = _mm256_xor_ps(_mm256_blendv_ps(s, c, swap), sin_sign),
          .cos = _mm256_xor_ps(_mm256_blendv_ps(c, s, swap), cos_sign)};
}

struct Pair {
  __m256 first;
  __m256 second;
};

Pair Turn(__m256 a, __m256 b, __m256 cos, __m256 sin) {
  return {.first = _mm256_fmsub_ps(a, cos, _mm256_mul_ps(b, sin)),
          .second = _mm256_fmadd_ps(a, sin, _mm256_mul_ps(b, cos))};
}

}  // namespace

void RopeAnglesAvx2(const float* frequencies, size_t half, float position, float* cosines,
                    float* sines) {
  for (size_t i = 0; i < half; i += 8) {
    const __m256 frequency = _mm256_maskload_ps(frequencies + i, LaneMask(half - i));
    const SinCos turn = SinCosOf(_mm256_mul_ps(_mm256_set1_ps(position), frequency));
    _mm256_storeu_ps(cosines + i, turn.cos);
    _mm256_storeu_ps(sines + i, turn.sin);
  }
}

void RopeRotateAvx2(const float* cosines, const float* sines, size_t half, size_t heads, float* x) {
  const size_t whole = half / 8 * 8;
  const __m256i mask = LaneMask(half - whole);
  for (size_t head = 0; head < heads; ++head) {
    float* const first = x + head * 2 * half;
    float* const second = first + half;
    for (size_t i = 0; i < whole; i += 8) {
      const Pair turned = Turn(_mm256_loadu_ps(first + i), _mm256_loadu_ps(second + i),
                               _mm256_loadu_ps(cosines + i), _mm256_loadu_ps(sines + i));
      _mm256_storeu_ps(first + i, turned.first);
      _mm256_storeu_ps(second + i, turned.second);
    }
    if (whole == half) continue;
    const Pair turned =
        Turn(_mm256_maskload_ps(first + whole, mask), _mm256_maskload_ps(second + whole, mask),
             _mm256_loadu_ps(cosines + whole), _mm256_loadu_ps(sines + whole));
    _mm256_maskstore_ps(first + whole, mask, turned.first);
    _mm256_maskstore_ps(second + whole, mask, turned.second);
  }
}

}  // namespace tessera::kernels
