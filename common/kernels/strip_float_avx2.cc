// Panels times float32 rows. A register tile is up to six rows by one tile of 16 outputs (12 sums
// in registers), or up to three rows by both tiles, which reads the panel in one go when there are
// few rows. Weights are widened between the fused multiply-adds: that costs two instructions of 24
// for bf16 at six rows, less than a second copy of the panel in L1 would.

#include <algorithm>

#include "common/kernels/strip_avx2.h"

namespace tessera::kernels::avx2 {
namespace {

// Weights of a panel that stay in L1 while all rows of a pass go over them; the sums wait in `out`.
constexpr size_t kStageBytes = 16 * 1024;

// Inputs that one step widens.
constexpr size_t StepInputs(WeightType type) {
  if (type == WeightType::kF32) return 1;
  return type == WeightType::kBF16 ? 2 : 4;
}

// The 8 outputs at `p` of step `step` in a tile's lines, for the step's inputs in ascending order.
template <WeightType kType>
inline void Widen(const std::byte* line, size_t step, size_t half, __m256 scale,
                  __m256 (&w)[StepInputs(kType)]) {
  const std::byte* p = line + half * 32;
  if constexpr (kType == WeightType::kF32) {
    w[0] = _mm256_load_ps(reinterpret_cast<const float*>(p));
    return;
  }
  const __m256i v = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  if constexpr (kType == WeightType::kBF16) {
    w[0] = _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
    w[1] = _mm256_castsi256_ps(_mm256_and_si256(v, _mm256_set1_epi32(-65536)));
  }
  if constexpr (kType == WeightType::kQ8) {
    for (int i = 0; i < 4; ++i) {
      const __m256i value = _mm256_srai_epi32(_mm256_slli_epi32(v, 24 - 8 * i), 24);
      w[i] = _mm256_mul_ps(_mm256_cvtepi32_ps(value), scale);
    }
  }
  if constexpr (kType == WeightType::kQ4) {
    const int high = step >= 4 ? 4 : 0;
    for (int i = 0; i < 4; ++i) {
      const __m256i nibble =
          _mm256_and_si256(_mm256_srli_epi32(v, 8 * i + high), _mm256_set1_epi32(15));
      const __m256i value = _mm256_sub_epi32(nibble, _mm256_set1_epi32(8));
      w[i] = _mm256_mul_ps(_mm256_cvtepi32_ps(value), scale);
    }
  }
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
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t v = 0; v < kVectors; ++v) sum[r][v] = _mm256_load_ps(out + r * 32 + v * 8);
  }
  for (size_t b = 0; b < blocks; ++b) {
    __m256 scale[kVectors];
    for (size_t v = 0; v < kVectors; ++v) {
      scale[v] =
          IsQuantised(kType)
              ? _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(scales + v * 16)))
              : _mm256_setzero_ps();
    }
#pragma GCC unroll 4
    for (size_t step = 0; step < kBlockInputs / kStep; ++step) {
      const std::byte* line = tile + step % TileLines(kType) * kLineBytes;
      __m256 w[kVectors][kStep];
      for (size_t v = 0; v < kVectors; ++v) {
        const std::byte* p = line + v / 2 * kTileBytes;
        if (v % 2 == 0) _mm_prefetch(p + kPrefetchAheadBytes, _MM_HINT_T1);
        Widen<kType>(p, step, v % 2, scale[v], w[v]);
      }
      for (size_t i = 0; i < kStep; ++i) {
        for (size_t r = 0; r < kRows; ++r) {
          const __m256 value = _mm256_broadcast_ss(x + r * stride + step * kStep + i);
          for (size_t v = 0; v < kVectors; ++v) {
            sum[r][v] = _mm256_fmadd_ps(value, w[v][i], sum[r][v]);
          }
        }
      }
    }
    x += kBlockInputs;
    tile += BlockBytes(kType);
    scales += BlockBytes(kType);
  }
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t v = 0; v < kVectors; ++v) _mm256_store_ps(out + r * 32 + v * 8, sum[r][v]);
  }
}

template <WeightType kType, size_t kRows>
void MultiplyRowTile(const float* x, size_t stride, const std::byte* block, size_t blocks,
                     float* out) {
  if constexpr (kRows <= 3) {
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
  const size_t stage = tiles == 1 ? blocks : kStageBytes / BlockBytes(kType);
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
