// bf16 weights times bf16 rows with vdpbf16ps: pairs of inputs a step, k ascending.

#include <immintrin.h>

#include "common/kernels/strip_prefetch_avx512.h"

namespace tessera::kernels::avx512 {
namespace {

constexpr size_t kTileRows = 8;
constexpr size_t kTileOutputCount = 4;
constexpr size_t kPanelBlockBytes = BlockBytes(WeightType::kBF16);
constexpr size_t kPanelTileBytes = TileLines(WeightType::kBF16) * kLineBytes;

[[gnu::always_inline]] inline __m512 MultiplyAdd(__m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

// Adds the stage's blocks to out [kRows, 32]. Rows lie 64 bytes apart, their blocks x_stride.
template <size_t kRows>
void MultiplyTile(const std::byte* x, size_t x_stride, const Stage& stage, WeightPrefetch prefetch,
                  float* out) {
  constexpr size_t kSteps = kBlockInputs / 2;
  constexpr size_t kTiles = TilesTogether(kRows);
  constexpr size_t kTurns = 2 / kTiles;
  __m512 sum[kRows][2];
  Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
    Repeat<2>([&](auto t) __attribute__((always_inline)) {
      sum[r][t] = _mm512_load_ps(out + r * kPanelOutputs + t * kLanes);
    });
  });
  const std::byte* block = stage.weights;
  for (size_t b = 0; b < stage.blocks; ++b) {
    if (!prefetch.spread) prefetch.All();
    Repeat<kTurns>([&](auto turn) __attribute__((always_inline)) {
      for (size_t j = 0; j < kSteps; ++j) {
        if (prefetch.spread) prefetch.Step<kSteps * kTurns, kPanelBlockBytes>(turn * kSteps + j);
        __m512i w[kTiles];
        Repeat<kTiles>([&](auto u) __attribute__((always_inline)) {
          w[u] = _mm512_load_si512(block + (turn * kTiles + u) * kPanelTileBytes + j * kLineBytes);
        });
        Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
          int pair;
          __builtin_memcpy(&pair, x + r * kBF16BlockBytes + j * 4, sizeof(pair));
          const __m512i value = _mm512_set1_epi32(pair);
          Repeat<kTiles>([&](auto u) __attribute__((always_inline)) {
            __m512& to = sum[r][turn * kTiles + u];
            to = MultiplyAdd(to, w[u], value);
          });
        });
      }
    });
    x += x_stride;
    block += kPanelBlockBytes;
    prefetch.NextBlock();
  }
  Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
    Repeat<2>([&](auto t) __attribute__((always_inline)) {
      _mm512_store_ps(out + r * kPanelOutputs + t * kLanes, sum[r][t]);
    });
  });
}

void MultiplyRowTile(size_t rows, const std::byte* x, size_t x_stride, const Stage& stage,
                     WeightPrefetch prefetch, float* out) {
  switch (rows) {
    case 1:
      return MultiplyTile<1>(x, x_stride, stage, prefetch, out);
    case 2:
      return MultiplyTile<2>(x, x_stride, stage, prefetch, out);
    case 3:
      return MultiplyTile<3>(x, x_stride, stage, prefetch, out);
    case 4:
      return MultiplyTile<4>(x, x_stride, stage, prefetch, out);
    case 5:
      return MultiplyTile<5>(x, x_stride, stage, prefetch, out);
    case 6:
      return MultiplyTile<6>(x, x_stride, stage, prefetch, out);
    case 7:
      return MultiplyTile<7>(x, x_stride, stage, prefetch, out);
    default:
      return MultiplyTile<kTileRows>(x, x_stride, stage, prefetch, out);
  }
}

// kRows rows, 64 bytes apart, times four weight rows; 32 lanes along k, pairs first.
template <size_t kRows>
void MultiplyOutputs(const std::byte* x, size_t x_stride,
                     const std::byte* const (&weights)[kTileOutputCount], size_t inputs,
                     float* out) {
  __m512 sum[kRows][kTileOutputCount];
  Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
    Repeat<kTileOutputCount>([&](auto n) __attribute__((always_inline)) {
      sum[r][n] = _mm512_setzero_ps();
    });
  });
  for (size_t k = 0; k < inputs; k += kBlockInputs) {
    const size_t count = Smaller(kBlockInputs, inputs - k);
    const auto mask = static_cast<__mmask32>((uint64_t{1} << count) - 1);
    __m512i w[kTileOutputCount];
    Repeat<kTileOutputCount>([&](auto n) __attribute__((always_inline)) {
      w[n] = _mm512_maskz_loadu_epi16(mask, weights[n] + k * 2);
      _mm_prefetch(weights[n] + k * 2 + kRowPrefetchAheadBytes, _MM_HINT_T1);
    });
    Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
      const __m512i value = _mm512_load_si512(x + r * kBF16BlockBytes);
      Repeat<kTileOutputCount>([&](auto n) __attribute__((always_inline)) {
        sum[r][n] = MultiplyAdd(sum[r][n], w[n], value);
      });
    });
    x += x_stride;
  }
  Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
    Repeat<kTileOutputCount>([&](auto n) __attribute__((always_inline)) {
      out[r * kPanelOutputs + n] = _mm512_reduce_add_ps(sum[r][n]);
    });
  });
}

}  // namespace

void MultiplyPanelBF16(const StripTask& task) {
  const Panel panel = {
      .weights = task.weights, .blocks = Blocks(task.inputs), .block_bytes = kPanelBlockBytes};
  const size_t stages = task.row_count <= kTileRows ? 1 : StageCount(panel);
  __builtin_memset(task.out, 0, task.row_count * kPanelOutputs * sizeof(float));
  for (size_t i = 0; i < stages; ++i) {
    const Stage stage = StageOf(panel, i, stages, /*fresh=*/task.row_begin == 0);
    for (size_t row = 0; row < task.row_count;) {
      const Group group = GroupOf(task.row_begin + row, task.kind.rows);
      const size_t place = task.row_begin + row - group.first;
      const size_t x_stride = group.rows * kBF16BlockBytes;
      // A whole group is cut into two halves, not into eight and a rest.
      const size_t left = group.rows - place;
      const size_t rows = left > kTileRows ? (left + 1) / 2 : left;
      MultiplyRowTile(rows,
                      task.rows + BF16Offset(group, task.inputs) + stage.first * x_stride +
                          place * kBF16BlockBytes,
                      x_stride, stage,
                      PrefetchOf(stage, {.first = row, .count = rows, .all = task.row_count}),
                      task.out + row * kPanelOutputs);
      row += rows;
    }
  }
}

void MultiplyRowsBF16(const StripTask& task) {
  for (size_t first = 0; first < task.outputs; first += kTileOutputCount) {
    const std::byte* weights[kTileOutputCount];
    for (size_t n = 0; n < kTileOutputCount; ++n) {
      weights[n] = task.weights + Smaller(first + n, task.outputs - 1) * task.inputs * 2;
    }
    for (size_t row = 0; row < task.row_count;) {
      const Group group = GroupOf(task.row_begin + row, task.kind.rows);
      const size_t place = task.row_begin + row - group.first;
      const size_t x_stride = group.rows * kBF16BlockBytes;
      const std::byte* x = task.rows + BF16Offset(group, task.inputs) + place * kBF16BlockBytes;
      float* out = task.out + row * kPanelOutputs + first;
      if (place + 4 <= group.rows) {
        MultiplyOutputs<4>(x, x_stride, weights, task.inputs, out);
        row += 4;
      } else {
        MultiplyOutputs<1>(x, x_stride, weights, task.inputs, out);
        row += 1;
      }
    }
  }
}

}  // namespace tessera::kernels::avx512
