#include "common/kernels/reduce_loops.h"
#include "common/kernels/vector_math_avx2.h"

namespace tessera::kernels {
namespace {

constexpr float kInfinity = __builtin_inff();

// The eight values from i on; lanes past the end hold minus infinity.
__m256 LoadTail(const float* values, size_t remaining) {
  const __m256i mask = LaneMask(remaining);
  return _mm256_blendv_ps(_mm256_set1_ps(-kInfinity), _mm256_maskload_ps(values, mask),
                          _mm256_castsi256_ps(mask));
}

template <int kCompare>
size_t FirstThat(const float* values, size_t begin, size_t count, float bound) {
  const __m256 limit = _mm256_set1_ps(bound);
  size_t i = begin;
  for (; i + 32 <= count; i += 32) {
    __m256 any = _mm256_cmp_ps(_mm256_loadu_ps(values + i), limit, kCompare);
    for (size_t j = 8; j < 32; j += 8) {
      any = _mm256_or_ps(any, _mm256_cmp_ps(_mm256_loadu_ps(values + i + j), limit, kCompare));
    }
    if (_mm256_movemask_ps(any) != 0) break;
  }
  for (; i < count; i += 8) {
    const __m256i mask = LaneMask(count - i);
    const __m256 hit =
        _mm256_and_ps(_mm256_cmp_ps(_mm256_maskload_ps(values + i, mask), limit, kCompare),
                      _mm256_castsi256_ps(mask));
    const int hits = _mm256_movemask_ps(hit);
    if (hits != 0) return i + static_cast<size_t>(__builtin_ctz(static_cast<unsigned>(hits)));
  }
  return count;
}

}  // namespace

float MaxOfAvx2(const float* values, size_t count) {
  // max(v, m) gives m where v is NaN.
  __m256 max[4] = {_mm256_set1_ps(-kInfinity), _mm256_set1_ps(-kInfinity),
                   _mm256_set1_ps(-kInfinity), _mm256_set1_ps(-kInfinity)};
  size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    for (size_t j = 0; j < 4; ++j)
      max[j] = _mm256_max_ps(_mm256_loadu_ps(values + i + 8 * j), max[j]);
  }
  for (; i < count; i += 8) max[0] = _mm256_max_ps(LoadTail(values + i, count - i), max[0]);
  return HorizontalMax(_mm256_max_ps(_mm256_max_ps(max[0], max[1]), _mm256_max_ps(max[2], max[3])));
}

size_t FirstAboveAvx2(const float* values, size_t begin, size_t count, float bound) {
  return FirstThat<_CMP_GT_OQ>(values, begin, count, bound);
}

size_t FirstAtLeastAvx2(const float* values, size_t begin, size_t count, float bound) {
  return FirstThat<_CMP_GE_OQ>(values, begin, count, bound);
}

bool AllFiniteAvx2(const float* values, size_t count) {
  // An exponent of all ones: then, and only then, magnitude >= infinity as an integer.
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  const __m256i largest = _mm256_set1_epi32(0x7f7fffff);
  const auto odd = [&](__m256 v) {
    return _mm256_cmpgt_epi32(_mm256_and_si256(_mm256_castps_si256(v), magnitude), largest);
  };
  size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m256i a =
        _mm256_or_si256(odd(_mm256_loadu_ps(values + i)), odd(_mm256_loadu_ps(values + i + 8)));
    const __m256i b = _mm256_or_si256(odd(_mm256_loadu_ps(values + i + 16)),
                                      odd(_mm256_loadu_ps(values + i + 24)));
    if (_mm256_movemask_epi8(_mm256_or_si256(a, b)) != 0) return false;
  }
  for (; i < count; i += 8) {
    if (_mm256_movemask_epi8(odd(_mm256_maskload_ps(values + i, LaneMask(count - i)))) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace tessera::kernels
