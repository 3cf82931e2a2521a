// Panels times float32 rows. A register tile is up to six rows by one tile of 16 outputs (12 sums
// in registers), or up to two rows by both tiles of a block, one after the other. Weights are
// widened between the fused multiply-adds: that costs six instructions of 46 for bf16 at six rows
// and runs beside them (0.95 of the peak within a core), where float32 panels stand too.

#include <algorithm>

#include "common/kernels/strip_avx2.h"

namespace tessera::kernels::avx2 {
namespace {

// Rows a register tile holds at most; more rows are cut into tiles of nearly equal size.
constexpr size_t kTileRows = 6;

// Inputs that one step widens.
constexpr size_t StepInputs(WeightType type) {
  if (type == WeightType::kF32) return 1;
  return type == WeightType::kBF16 ? 2 : 4;
}

// Input `input` of step `step` of the 8 outputs whose part of the step's line begins at `p`.
template <WeightType kType>
[[gnu::always_inline]] inline __m256 Widen(const std::byte* p, size_t step, int input,
                                           const __m256& scale) {
  if constexpr (kType == WeightType::kF32) {
    return _mm256_load_ps(reinterpret_cast<const float*>(p));
  }
  const __m256i v = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  if constexpr (kType == WeightType::kBF16) {
    return _mm256_castsi256_ps(input == 0 ? _mm256_slli_epi32(v, 16)
                                          : _mm256_slli_epi32(_mm256_srli_epi32(v, 16), 16));
  }
  __m256i value;
  if constexpr (kType == WeightType::kQ8) {
    value = _mm256_srai_epi32(_mm256_slli_epi32(v, 24 - 8 * input), 24);
  } else {
    const int shift = 8 * input + (step >= TileLines(WeightType::kQ4) ? 4 : 0);
    value = _mm256_sub_epi32(_mm256_and_si256(_mm256_srli_epi32(v, shift), _mm256_set1_epi32(15)),
                             _mm256_set1_epi32(8));
  }
  return _mm256_mul_ps(_mm256_cvtepi32_ps(value), scale);
}

// Adds `blocks` blocks of kTiles tiles to out [kRows, 32]; `tile` points at the first tile's lines
// of the first block, `scales` at the same block's scales of that tile.
template <WeightType kType, size_t kRows, size_t kTiles>
void MultiplyTile(const float* x, size_t stride, const std::byte* tile, const std::byte* scales,
                  size_t blocks, float* out) {
  constexpr size_t kVectors = 2 * kTiles;
  constexpr size_t kStep = StepInputs(kType);
  constexpr size_t kTileBytes = TileLines(kType) * kLineBytes;
  __m256 sum[kRows][kVectors];
  Repeat<kRows>([&](auto r) {
    Repeat<kVectors>([&](auto v) { sum[r][v] = _mm256_load_ps(out + r * kPanelOutputs + v * 8); });
  });
  for (size_t b = 0; b < blocks; ++b) {
    __m256 scale[kVectors];
    Repeat<kVectors>([&](auto v) {
      scale[v] =
          IsQuantised(kType)
              ? _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(scales + v * 16)))
              : _mm256_setzero_ps();
    });
    Repeat<kTiles>([&](auto t) __attribute__((always_inline)) {
      for (size_t step = 0; step < kBlockInputs / kStep; ++step) {
        const std::byte* line = tile + t * kTileBytes + step % TileLines(kType) * kLineBytes;
        _mm_prefetch(line + kPrefetchAheadBytes, _MM_HINT_T1);
        Repeat<kStep>([&](auto i) __attribute__((always_inline)) {
          const __m256 low = Widen<kType>(line, step, i, scale[2 * t]);
          const __m256 high = Widen<kType>(line + 32, step, i, scale[2 * t + 1]);
          Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
            const __m256 value = _mm256_broadcast_ss(x + r * stride + step * kStep + i);
            sum[r][2 * t] = _mm256_fmadd_ps(value, low, sum[r][2 * t]);
            sum[r][2 * t + 1] = _mm256_fmadd_ps(value, high, sum[r][2 * t + 1]);
          });
        });
      }
    });
    x += kBlockInputs;
    tile += BlockBytes(kType);
    scales += BlockBytes(kType);
  }
  Repeat<kRows>([&](auto r) {
    Repeat<kVectors>([&](auto v) { _mm256_store_ps(out + r * kPanelOutputs + v * 8, sum[r][v]); });
  });
}

template <WeightType kType, size_t kRows>
void MultiplyRowTile(const float* x, size_t stride, const std::byte* block, size_t blocks,
                     float* out) {
  if constexpr (kRows <= 2) {
    MultiplyTile<kType, kRows, 2>(x, stride, block + TileOffset(kType, 0), block, blocks, out);
  } else {
    for (size_t t = 0; t < 2; ++t) {
      MultiplyTile<kType, kRows, 1>(x, stride, block + TileOffset(kType, t), block + t * 32, blocks,
                                    out + t * kTileOutputs);
    }
  }
}

template <WeightType kType>
void MultiplyRowsOf(const float* x, size_t stride, size_t rows, const std::byte* block,
                    size_t blocks, float* out) {
  switch (rows) {
    case 1:
      return MultiplyRowTile<kType, 1>(x, stride, block, blocks, out);
    case 2:
      return MultiplyRowTile<kType, 2>(x, stride, block, blocks, out);
    case 3:
      return MultiplyRowTile<kType, 3>(x, stride, block, blocks, out);
    case 4:
      return MultiplyRowTile<kType, 4>(x, stride, block, blocks, out);
    case 5:
      return MultiplyRowTile<kType, 5>(x, stride, block, blocks, out);
    default:
      return MultiplyRowTile<kType, 6>(x, stride, block, blocks, out);
  }
}

template <WeightType kType>
void MultiplyPanel(const StripTask& task) {
  const size_t stride = FloatStride(task.inputs);
  const float* x = reinterpret_cast<const float*>(task.rows) + task.row_begin * stride;
  const size_t blocks = BlockCount(task.inputs);
  const size_t tiles = (task.row_count + kTileRows - 1) / kTileRows;
  const size_t stage = StageBlocks(kType, task.row_count, blocks);
  std::fill(task.out, task.out + task.row_count * kPanelOutputs, 0.0f);
  for (size_t b = 0; b < blocks; b += stage) {
    const size_t count = std::min(stage, blocks - b);
    size_t row = 0;
    for (size_t t = 0; t < tiles; ++t) {
      const size_t rows = (task.row_count - row + tiles - t - 1) / (tiles - t);
      MultiplyRowsOf<kType>(x + row * stride + b * kBlockInputs, stride, rows,
                            task.weights + b * BlockBytes(kType), count,
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

}  // namespace tessera::kernels::avx2
