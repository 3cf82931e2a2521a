// Row-major weights, straight from a map, times float32 rows: up to four rows by four outputs a
// register tile, sixteen lanes along k each, added up at the end in one fixed order.

#include <immintrin.h>

#include "common/kernels/strip_avx512.h"

namespace tessera::kernels::avx512 {
namespace {

constexpr size_t kTileOutputCount = 4;

size_t FloatStride(size_t inputs) { return Blocks(inputs) * kBlockInputs + 16; }

// The lanes of `mask` of 16 weights, widened exactly; others 0.
template <bool kBF16>
[[gnu::always_inline]] inline __m512 LoadWeights(const std::byte* p, __mmask16 mask) {
  if constexpr (kBF16) {
    const __m256i bits = _mm256_maskz_loadu_epi16(mask, p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  } else {
    return _mm512_maskz_loadu_ps(mask, p);
  }
}

// kRows rows times four weight rows. Rows of weights that do not exist are given as another one.
template <bool kBF16, size_t kRows>
void MultiplyTile(const float* x, size_t stride,
                  const std::byte* const (&weights)[kTileOutputCount], size_t inputs, float* out) {
  constexpr size_t kSize = kBF16 ? 2 : 4;
  __m512 sum[kRows][kTileOutputCount];
  Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
    Repeat<kTileOutputCount>([&](auto n) __attribute__((always_inline)) {
      sum[r][n] = _mm512_setzero_ps();
    });
  });
  for (size_t k = 0; k < inputs; k += kLanes) {
    const size_t count = Smaller(kLanes, inputs - k);
    const auto mask = static_cast<__mmask16>((1u << count) - 1);
    __m512 w[kTileOutputCount];
    Repeat<kTileOutputCount>([&](auto n) __attribute__((always_inline)) {
      w[n] = LoadWeights<kBF16>(weights[n] + k * kSize, mask);
      _mm_prefetch(weights[n] + k * kSize + kRowPrefetchAheadBytes, _MM_HINT_T1);
    });
    Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
      const __m512 value = _mm512_load_ps(x + r * stride + k);
      Repeat<kTileOutputCount>([&](auto n) __attribute__((always_inline)) {
        sum[r][n] = _mm512_fmadd_ps(value, w[n], sum[r][n]);
      });
    });
  }
  Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
    Repeat<kTileOutputCount>([&](auto n) __attribute__((always_inline)) {
      out[r * kPanelOutputs + n] = _mm512_reduce_add_ps(sum[r][n]);
    });
  });
}

template <bool kBF16>
void Multiply(const StripTask& task) {
  const size_t stride = FloatStride(task.inputs);
  const float* x = reinterpret_cast<const float*>(task.rows) + task.row_begin * stride;
  const size_t weight_stride = task.inputs * (kBF16 ? 2 : 4);
  for (size_t first = 0; first < task.outputs; first += kTileOutputCount) {
    const std::byte* weights[kTileOutputCount];
    for (size_t n = 0; n < kTileOutputCount; ++n) {
      weights[n] = task.weights + Smaller(first + n, task.outputs - 1) * weight_stride;
    }
    float* out = task.out + first;
    size_t row = 0;
    for (; row + 4 <= task.row_count; row += 4) {
      MultiplyTile<kBF16, 4>(x + row * stride, stride, weights, task.inputs,
                             out + row * kPanelOutputs);
    }
    for (; row < task.row_count; ++row) {
      MultiplyTile<kBF16, 1>(x + row * stride, stride, weights, task.inputs,
                             out + row * kPanelOutputs);
    }
  }
}

}  // namespace

void MultiplyRowsFloat(const StripTask& task) {
  task.kind.type == WeightType::kBF16 ? Multiply<true>(task) : Multiply<false>(task);
}

}  // namespace tessera::kernels::avx512
