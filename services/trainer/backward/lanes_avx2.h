#pragma once

// Eight floats (see lanes.h). Only for the *_avx2.cc and *_avx512.cc files of the trainer.

#include <immintrin.h>

#include <cstddef>

#include "common/kernels/vector_math_avx2.h"
#include "services/trainer/backward/lanes.h"

namespace tessera::trainer {
namespace {

struct FloatLanes {
  using T = float;
  using V = __m256;
  using Narrower = PlainLane<float>;
  using SumLane = FloatLanes;
  static constexpr size_t kWidth = 8;
  static V Load(const T* p) { return _mm256_loadu_ps(p); }
  static void Store(T* p, V v) { _mm256_storeu_ps(p, v); }
  static V Fill(T v) { return _mm256_set1_ps(v); }
  static V Add(V a, V b) { return _mm256_add_ps(a, b); }
  static V Sub(V a, V b) { return _mm256_sub_ps(a, b); }
  static V Mul(V a, V b) { return _mm256_mul_ps(a, b); }
  static V MulAdd(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static V Max(V a, V b) { return _mm256_max_ps(a, b); }
  static V ExpNonPositive(V a) { return kernels::ExpNonPositive(a); }  // up to rounding
  static V Sigmoid(V a) { return kernels::Sigmoid(a); }
  static bool AnyAbove(V a, T b) {
    return _mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_set1_ps(b), _CMP_GT_OQ)) != 0;
  }
  static V AddParts(V sum, V a) { return _mm256_add_ps(sum, a); }
  static T Sum(V a) { return kernels::HorizontalSum(a); }
  static T Largest(V a) { return kernels::HorizontalMax(a); }
};

}  // namespace
}  // namespace tessera::trainer
