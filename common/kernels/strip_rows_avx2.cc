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

// kRows rows times kOutputs weight rows that follow one another. Of 16 registers 12 are sums, 3
// hold the rows' numbers and one the weights of one output.
template <bool kBF16, size_t kRows, size_t kOutputs>
void MultiplyGroup(const float* x, size_t stride, const std::byte* weights, size_t inputs,
                   float* out) {
  constexpr size_t kSize = kBF16 ? 2 : 4;
  const size_t weight_stride = inputs * kSize;
  __m256 sum[kRows][kOutputs];
  Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
    Repeat<kOutputs>([&](auto n)
                         __attribute__((always_inline)) { sum[r][n] = _mm256_setzero_ps(); });
  });
  // Adds inputs [k, k + 8); `load(n)` gives the weights of output n.
  const auto add = [&](size_t k, auto load) __attribute__((always_inline)) {
    __m256 value[kRows];
    Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
      value[r] = _mm256_load_ps(x + r * stride + k);
    });
    Repeat<kOutputs>([&](auto n) __attribute__((always_inline)) {
      const __m256 w = load(n);
      Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
        sum[r][n] = _mm256_fmadd_ps(value[r], w, sum[r][n]);
      });
    });
  };
  const auto add_whole = [&](size_t k) __attribute__((always_inline)) {
    add(
        k, [&](size_t n) __attribute__((always_inline)) {
          return Load8<kBF16>(weights + n * weight_stride + k * kSize);
        });
  };
  size_t k = 0;
  for (; k + kBlockInputs <= inputs; k += kBlockInputs) {
    // The same inputs of the next outputs.
    const std::byte* next = weights + kOutputs * weight_stride + k * kSize;
    for (size_t n = 0; n < kOutputs; ++n) {
      _mm_prefetch(next + n * weight_stride, _MM_HINT_T1);
      if (!kBF16) _mm_prefetch(next + n * weight_stride + kLineBytes, _MM_HINT_T1);
    }
    Repeat<kBlockInputs / kLanes>([&](auto i) __attribute__((always_inline)) {
      add_whole(k + i * kLanes);
    });
  }
  for (; k + kLanes <= inputs; k += kLanes) add_whole(k);
  if (k < inputs) {
    add(
        k, [&](size_t n) __attribute__((always_inline)) {
          std::byte tail[kLanes * kSize] = {};
          std::memcpy(tail, weights + n * weight_stride + k * kSize, (inputs - k) * kSize);
          return Load8<kBF16>(tail);
        });
  }
  Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
    Repeat<kOutputs>([&](auto n) __attribute__((always_inline)) {
      out[r * kPanelOutputs + n] = HorizontalSum(sum[r][n]);
    });
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
