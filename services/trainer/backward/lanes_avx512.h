#pragma once

// Sixteen floats (see lanes.h), each computed as a lane of lanes_avx2.h is: what is element by
// element has the same bits. Only for the *_avx512.cc files of the trainer.

#include <immintrin.h>

#include <cstddef>

#include "services/trainer/backward/lanes_avx2.h"

namespace tessera::trainer {
namespace {

struct WideLanes {
  using T = float;
  using V = __m512;
  using Narrower = FloatLanes;
  using SumLane = FloatLanes;
  static constexpr size_t kWidth = 16;
  static V Load(const T* p) { return _mm512_loadu_ps(p); }
  static void Store(T* p, V v) { _mm512_storeu_ps(p, v); }
  static V Fill(T v) { return _mm512_set1_ps(v); }
  static V Add(V a, V b) { return _mm512_add_ps(a, b); }
  static V Sub(V a, V b) { return _mm512_sub_ps(a, b); }
  static V Mul(V a, V b) { return _mm512_mul_ps(a, b); }
  static V MulAdd(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static V Max(V a, V b) { return _mm512_max_ps(a, b); }
  static V ExpNonPositive(V a) {
    const V clamped = Max(Fill(-88.0f), a);
    const V n = RoundedLog2(clamped);
    return Mul(ExpFraction(ReduceByLn2(clamped, n)), PowerOfTwo(_mm512_cvtps_epi32(n)));
  }
  static V Sigmoid(V a) {
    const V one = Fill(1.0f);
    return _mm512_div_ps(one, Add(one, Exp(Sub(_mm512_setzero_ps(), a))));
  }
  static bool AnyAbove(V a, T b) { return _mm512_cmp_ps_mask(a, Fill(b), _CMP_GT_OQ) != 0; }
  static __m256 AddParts(__m256 sum, V a) {
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
    return _mm256_add_ps(_mm256_add_ps(sum, _mm512_castps512_ps256(a)), high);
  }

 private:
  // As in common/kernels/vector_math_avx2.h, operation by operation.
  static V RoundedLog2(V x) {
    return _mm512_roundscale_ps(Mul(x, Fill(1.44269504088896341f)), kernels::kRoundNearest);
  }
  static V PowerOfTwo(__m512i n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
  }
  static V ExpFraction(V r) {
    V p = Fill(1.4018298242836856e-3f);
    p = MulAdd(p, r, Fill(8.366153338423356e-3f));
    p = MulAdd(p, r, Fill(4.1665668896576434e-2f));
    p = MulAdd(p, r, Fill(1.6666545704555286e-1f));
    p = MulAdd(p, r, Fill(5.000000090164954e-1f));
    p = MulAdd(p, r, Fill(1.0f));
    return MulAdd(p, r, Fill(1.0f));
  }
  static V ReduceByLn2(V x, V n) {
    const V r = _mm512_fnmadd_ps(n, Fill(0.693147180559945309f), x);
    return _mm512_fnmadd_ps(n, Fill(-1.904654299957e-9f), r);
  }
  static V Exp(V x) {
    const V clamped = _mm512_min_ps(Fill(89.0f), Max(Fill(-104.5f), x));
    const V n = RoundedLog2(clamped);
    const V p = ExpFraction(ReduceByLn2(clamped, n));
    const __m512i whole = _mm512_cvtps_epi32(n);
    const __m512i half = _mm512_srai_epi32(whole, 1);
    return Mul(Mul(p, PowerOfTwo(half)), PowerOfTwo(_mm512_sub_epi32(whole, half)));
  }
};

}  // namespace
}  // namespace tessera::trainer
