// Panels times float32 rows: a register tile is up to eight rows by both tiles of 16 outputs.

#include <immintrin.h>

#include "common/kernels/strip_prefetch_avx512.h"

namespace tessera::kernels::avx512 {
namespace {

constexpr size_t kTileRows = 8;

// As Avx2StripKernels() lays out kFloat32.
size_t FloatStride(size_t inputs) { return Blocks(inputs) * kBlockInputs + 16; }

// What the layout says of one weight type, as constants.
template <WeightType kType>
struct Layout {
  static constexpr size_t kLines = TileLines(kType);
  static constexpr size_t kBytes = BlockBytes(kType);
  static constexpr bool kScaled = IsQuantised(kType);
  static constexpr size_t kStepInputs =
      kType == WeightType::kF32 ? 1 : (kType == WeightType::kBF16 ? 2 : 4);
};

// Moves byte i of each dword to its top and clears the rest, so that the dword is the byte's value
// times 2^24; the scale takes the factor back, exactly.
[[gnu::always_inline]] inline __m512i TopByte(__m512i v, int i) {
  constexpr int kClear = 0x808080;
  const __m512i order = _mm512_set4_epi32((12 + i) << 24 | kClear, (8 + i) << 24 | kClear,
                                          (4 + i) << 24 | kClear, i << 24 | kClear);
  return _mm512_shuffle_epi8(v, order);
}

// Input `input` of step `step` of a tile's 16 outputs.
template <WeightType kType>
[[gnu::always_inline]] inline __m512 Widen(const std::byte* tile, size_t step, int input,
                                           __m512 scale) {
  const std::byte* line = tile + step % Layout<kType>::kLines * kLineBytes;
  if constexpr (kType == WeightType::kF32) return _mm512_load_ps(line);
  __m512i v = _mm512_load_si512(line);
  if constexpr (kType == WeightType::kBF16) {
    return _mm512_castsi512_ps(input == 0 ? _mm512_slli_epi32(v, 16)
                                          : _mm512_and_si512(v, _mm512_set1_epi32(-65536)));
  }
  if constexpr (kType == WeightType::kQ4) {
    if (step >= Layout<kType>::kLines) v = _mm512_srli_epi16(v, 4);
    v = _mm512_sub_epi8(_mm512_and_si512(v, _mm512_set1_epi8(15)), _mm512_set1_epi8(8));
  }
  return _mm512_mul_ps(_mm512_cvtepi32_ps(TopByte(v, input)), scale);
}

template <WeightType kType>
inline __m512 ScaleOf(const std::byte* scales) {
  if constexpr (Layout<kType>::kScaled) {
    const __m256i half = _mm256_load_si256(reinterpret_cast<const __m256i*>(scales));
    return _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(0x1p-24f));
  } else {
    return _mm512_setzero_ps();
  }
}

// Adds the stage's blocks to out [kRows, 32].
template <WeightType kType, size_t kRows>
void MultiplyTile(const float* x, size_t stride, const Stage& stage, WeightPrefetch prefetch,
                  float* out) {
  using L = Layout<kType>;
  constexpr size_t kStep = L::kStepInputs;
  constexpr size_t kSteps = kBlockInputs / kStep;
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
    const __m512 scale[2] = {ScaleOf<kType>(block), ScaleOf<kType>(block + 32)};
    Repeat<kTurns>([&](auto turn) __attribute__((always_inline)) {
      for (size_t step = 0; step < kSteps; ++step) {
        if (prefetch.spread) prefetch.Step<kSteps * kTurns, L::kBytes>(turn * kSteps + step);
        Repeat<kStep>([&](auto i) __attribute__((always_inline)) {
          __m512 w[kTiles];
          Repeat<kTiles>([&](auto u) __attribute__((always_inline)) {
            constexpr size_t kTile = turn * kTiles + u;
            w[u] = Widen<kType>(block + TileOffset(kType, kTile), step, i, scale[kTile]);
          });
          Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
            const __m512 value = _mm512_set1_ps(x[r * stride + step * kStep + i]);
            Repeat<kTiles>([&](auto u) __attribute__((always_inline)) {
              __m512& to = sum[r][turn * kTiles + u];
              to = _mm512_fmadd_ps(value, w[u], to);
            });
          });
        });
      }
    });
    x += kBlockInputs;
    block += L::kBytes;
    prefetch.NextBlock();
  }
  Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
    Repeat<2>([&](auto t) __attribute__((always_inline)) {
      _mm512_store_ps(out + r * kPanelOutputs + t * kLanes, sum[r][t]);
    });
  });
}

template <WeightType kType>
void MultiplyRowTile(size_t rows, const float* x, size_t stride, const Stage& stage,
                     WeightPrefetch prefetch, float* out) {
  switch (rows) {
    case 1:
      return MultiplyTile<kType, 1>(x, stride, stage, prefetch, out);
    case 2:
      return MultiplyTile<kType, 2>(x, stride, stage, prefetch, out);
    case 3:
      return MultiplyTile<kType, 3>(x, stride, stage, prefetch, out);
    case 4:
      return MultiplyTile<kType, 4>(x, stride, stage, prefetch, out);
    case 5:
      return MultiplyTile<kType, 5>(x, stride, stage, prefetch, out);
    case 6:
      return MultiplyTile<kType, 6>(x, stride, stage, prefetch, out);
    case 7:
      return MultiplyTile<kType, 7>(x, stride, stage, prefetch, out);
    default:
      return MultiplyTile<kType, kTileRows>(x, stride, stage, prefetch, out);
  }
}

template <WeightType kType>
void MultiplyPanel(const StripTask& task) {
  const size_t stride = FloatStride(task.inputs);
  const float* x = reinterpret_cast<const float*>(task.rows) + task.row_begin * stride;
  const size_t blocks = Blocks(task.inputs);
  constexpr size_t kBytes = Layout<kType>::kBytes;
  const size_t tiles = (task.row_count + kTileRows - 1) / kTileRows;
  const Panel panel = {.weights = task.weights, .blocks = blocks, .block_bytes = kBytes};
  const size_t stages = tiles == 1 ? 1 : StageCount(panel);
  __builtin_memset(task.out, 0, task.row_count * kPanelOutputs * sizeof(float));
  for (size_t i = 0; i < stages; ++i) {
    const Stage stage = StageOf(panel, i, stages, /*fresh=*/task.row_begin == 0);
    size_t row = 0;
    for (size_t t = 0; t < tiles; ++t) {
      const size_t rows = (task.row_count - row + tiles - t - 1) / (tiles - t);
      MultiplyRowTile<kType>(
          rows, x + row * stride + stage.first * kBlockInputs, stride, stage,
          PrefetchOf(stage, {.first = row, .count = rows, .all = task.row_count}),
          task.out + row * kPanelOutputs);
      row += rows;
    }
  }
}

}  // namespace

void MultiplyPanelFloat(const StripTask& task) {
  switch (task.kind.type) {
    case WeightType::kF32:
      return MultiplyPanel<WeightType::kF32>(task);
    case WeightType::kBF16:
      return MultiplyPanel<WeightType::kBF16>(task);
    case WeightType::kQ8:
      return MultiplyPanel<WeightType::kQ8>(task);
    case WeightType::kQ4:
      return MultiplyPanel<WeightType::kQ4>(task);
  }
}

}  // namespace tessera::kernels::avx512
