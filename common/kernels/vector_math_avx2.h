#pragma once

// exp, 2^x, sigmoid and silu of eight floats. Internal to this room, and only for the *_avx2.cc
// files: everything here sits in an unnamed namespace, so that the linker can never give code of
// this instruction set to an object that must run without it.
//
// The functions are branch-free; the result of a lane depends on that lane alone. NaN stays NaN.

#include <immintrin.h>

#include <cstddef>

namespace tessera::kernels {
namespace {

// Lanes [0, count) on, for maskload and maskstore; all from 8 up. (maskstore takes tens of cycles
// on some CPUs: for tails only.)
[[maybe_unused]] inline __m256i LaneMask(size_t count) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes);
}

// Sum and maximum of the eight lanes, always paired the same way: (i, i+4), (i, i+2), (i, i+1).
[[maybe_unused]] inline float HorizontalSum(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
[[maybe_unused]] inline float HorizontalMax(__m256 v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

// 2^n for integers n in [-127, 127]; -127 gives 0.
[[maybe_unused]] inline __m256 PowerOfTwo(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

// 2^r for |r| <= 0.5: minimax of degree 6 with p(0) = 1, relative error 2.6e-9 before rounding.
[[maybe_unused]] inline __m256 Exp2Fraction(__m256 r) {
  __m256 p = _mm256_set1_ps(1.5594697786575587e-4f);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3406643905855675e-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(9.617692974760299e-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.5503105509931504e-2f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(2.4022652782877088e-1f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(6.931472149680412e-1f));
  return _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
}

// e^r for |r| <= ln(2)/2: minimax of degree 6 with p(0) = p'(0) = 1, relative error 1.4e-8 before
// rounding.
[[maybe_unused]] inline __m256 ExpFraction(__m256 r) {
  __m256 p = _mm256_set1_ps(1.4018298242836856e-3f);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.366153338423356e-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665668896576434e-2f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666545704555286e-1f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.000000090164954e-1f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  return _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
}

inline constexpr int kRoundNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

// r = x - n ln(2), ln(2) as the sum of two floats: with fma the first step is exact.
[[maybe_unused]] inline __m256 ReduceByLn2(__m256 x, __m256 n) {
  const __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693147180559945309f), x);
  return _mm256_fnmadd_ps(n, _mm256_set1_ps(-1.904654299957e-9f), r);
}

// e^x within 2 ulp over the whole range, subnormal results included; overflow gives infinity.
[[maybe_unused]] inline __m256 Exp(__m256 x) {
  const __m256 clamped =
      _mm256_min_ps(_mm256_set1_ps(89.0f), _mm256_max_ps(_mm256_set1_ps(-104.5f), x));
  const __m256 n =
      _mm256_round_ps(_mm256_mul_ps(clamped, _mm256_set1_ps(1.44269504088896341f)), kRoundNearest);
  const __m256 p = ExpFraction(ReduceByLn2(clamped, n));
  // Two factors: 2^n itself may lie outside the normal numbers.
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  const __m256i rest = _mm256_sub_epi32(whole, half);
  return _mm256_mul_ps(_mm256_mul_ps(p, PowerOfTwo(half)), PowerOfTwo(rest));
}

// e^x within 2 ulp for x <= 0; results under 2^-126 become 0, so minus infinity gives 0.
[[maybe_unused]] inline __m256 ExpNonPositive(__m256 x) {
  const __m256 clamped = _mm256_max_ps(_mm256_set1_ps(-88.0f), x);
  const __m256 n =
      _mm256_round_ps(_mm256_mul_ps(clamped, _mm256_set1_ps(1.44269504088896341f)), kRoundNearest);
  return _mm256_mul_ps(ExpFraction(ReduceByLn2(clamped, n)), PowerOfTwo(_mm256_cvtps_epi32(n)));
}

// 2^x within 2 ulp for x <= 0; results under 2^-126.5 become 0, so minus infinity gives 0.
[[maybe_unused]] inline __m256 Exp2NonPositive(__m256 x) {
  const __m256 clamped = _mm256_max_ps(_mm256_set1_ps(-127.0f), x);
  const __m256 n = _mm256_round_ps(clamped, kRoundNearest);
  return _mm256_mul_ps(Exp2Fraction(_mm256_sub_ps(clamped, n)), PowerOfTwo(_mm256_cvtps_epi32(n)));
}

// 1 / (1 + e^-x), within 4 ulp.
[[maybe_unused]] inline __m256 Sigmoid(__m256 x) {
  const __m256 one = _mm256_set1_ps(1.0f);
  return _mm256_div_ps(one, _mm256_add_ps(one, Exp(_mm256_sub_ps(_mm256_setzero_ps(), x))));
}

// x / (1 + e^-x), within 4 ulp.
[[maybe_unused]] inline __m256 Silu(__m256 x) {
  const __m256 one = _mm256_set1_ps(1.0f);
  return _mm256_div_ps(x, _mm256_add_ps(one, Exp(_mm256_sub_ps(_mm256_setzero_ps(), x))));
}

}  // namespace
}  // namespace tessera::kernels
