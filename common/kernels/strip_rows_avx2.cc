// Row-major weights, straight from a map, times float32 rows: three rows by four outputs a register
// tile, eight lanes along k each, added up at the end in one fixed order.

#include <algorithm>
#include <cstring>

#include "common/kernels/strip_avx2.h"
#include "common/kernels/vector_math_avx2.h"

namespace tessera::kernels::avx2 {
namespace {

constexpr size_t kGroupRows = 3;
constexpr size_t kGroupOutputs = 4;
constexpr size_t kLanes = 8;

template <bool kBF16>
inline __m256 Load8(const std::byte* p) {
  if constexpr (kBF16) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  } else {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  }
}

// kRows rows times kOutputs weight rows that lie `weight_stride` bytes apart.
template <bool kBF16, size_t kRows, size_t kOutputs>
void MultiplyGroup(const float* x, size_t stride, const std::byte* weights, size_t inputs,
                   float* out) {
  constexpr size_t kSize = kBF16 ? 2 : 4;
  const size_t weight_stride = inputs * kSize;
  __m256 sum[kRows][kOutputs];
  Repeat<kRows>(
      [&](auto r) { Repeat<kOutputs>([&](auto n) { sum[r][n] = _mm256_setzero_ps(); }); });
  const auto add = [&](size_t k, const __m256(&w)[kOutputs]) {
    Repeat<kRows>([&](auto r) {
      const __m256 value = _mm256_load_ps(x + r * stride + k);
      Repeat<kOutputs>([&](auto n) { sum[r][n] = _mm256_fmadd_ps(value, w[n], sum[r][n]); });
    });
  };
  size_t k = 0;
  for (; k + kLanes <= inputs; k += kLanes) {
    __m256 w[kOutputs];
    Repeat<kOutputs>([&](auto n) { w[n] = Load8<kBF16>(weights + n * weight_stride + k * kSize); });
    add(k, w);
  }
  if (k < inputs) {
    __m256 w[kOutputs];
    Repeat<kOutputs>([&](auto n) {
      std::byte tail[kLanes * kSize] = {};
      std::memcpy(tail, weights + n * weight_stride + k * kSize, (inputs - k) * kSize);
      w[n] = Load8<kBF16>(tail);
    });
    add(k, w);
  }
  Repeat<kRows>([&](auto r) {
    Repeat<kOutputs>([&](auto n) { out[r * kPanelOutputs + n] = HorizontalSum(sum[r][n]); });
  });
}

template <bool kBF16, size_t kOutputs>
void MultiplyOutputs(const StripTask& task, const float* x, size_t stride, size_t first) {
  const std::byte* weights = task.weights + first * task.inputs * (kBF16 ? 2 : 4);
  size_t row = 0;
  for (; row + kGroupRows <= task.row_count; row += kGroupRows) {
    MultiplyGroup<kBF16, kGroupRows, kOutputs>(x + row * stride, stride, weights, task.inputs,
                                               task.out + row * kPanelOutputs + first);
  }
  for (; row < task.row_count; ++row) {
    MultiplyGroup<kBF16, 1, kOutputs>(x + row * stride, stride, weights, task.inputs,
                                      task.out + row * kPanelOutputs + first);
  }
}

template <bool kBF16>
void Multiply(const StripTask& task) {
  const size_t stride = FloatStride(task.inputs);
  const float* x = reinterpret_cast<const float*>(task.rows) + task.row_begin * stride;
  size_t first = 0;
  for (; first + kGroupOutputs <= task.outputs; first += kGroupOutputs) {
    MultiplyOutputs<kBF16, kGroupOutputs>(task, x, stride, first);
  }
  for (; first < task.outputs; ++first) MultiplyOutputs<kBF16, 1>(task, x, stride, first);
}

}  // namespace

void MultiplyRowsFloat(const StripTask& task) {
  task.kind.type == WeightType::kBF16 ? Multiply<true>(task) : Multiply<false>(task);
}

}  // namespace tessera::kernels::avx2
