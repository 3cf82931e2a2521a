// Panels of q8 or q4 times int8 rows with vpdpbusd, whose first factor is unsigned: weights of q8
// get 128 added (xor 0x80), those of q4 are stored with 8 added; the sums start at what that adds
// too much. Range: 255 * 127 * 32 and the start stay below 2^21, so int32 sums are exact.

#include <immintrin.h>

#include <cstdint>

#include "common/kernels/strip_prefetch_avx512.h"

namespace tessera::kernels::avx512 {
namespace {

constexpr size_t kTileRows = 6;
constexpr size_t kSteps = kBlockInputs / 4;

// Rows of one register tile: those of a group from `place` on, at the first block of a stage.
struct Rows {
  const std::byte* values;
  const std::byte* factors;
  size_t group_rows;
};

// Four inputs of 16 outputs as unsigned bytes.
template <WeightType kType>
[[gnu::always_inline]] inline __m512i Unsigned(const std::byte* tile, size_t step) {
  const __m512i v = _mm512_load_si512(tile + step % TileLines(kType) * kLineBytes);
  if constexpr (kType == WeightType::kQ8) {
    return _mm512_xor_si512(v, _mm512_set1_epi8(-128));
  } else {
    const __m512i low = _mm512_set1_epi8(15);
    return _mm512_and_si512(step < TileLines(kType) ? v : _mm512_srli_epi16(v, 4), low);
  }
}

inline __m512 HalfScales(const std::byte* scales) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(scales)));
}

inline int32_t LoadInt(const std::byte* p) {
  int32_t value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

// Adds the stage's blocks to out [kRows, 32].
template <WeightType kType, size_t kRows>
void MultiplyTile(Rows rows, const Stage& stage, WeightPrefetch prefetch, float* out) {
  constexpr size_t kBytes = BlockBytes(kType);
  constexpr size_t kTiles = TilesTogether(kRows);
  __m512 total[kRows][2];
  Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
    Repeat<2>([&](auto t) __attribute__((always_inline)) {
      total[r][t] = _mm512_load_ps(out + r * kPanelOutputs + t * kLanes);
    });
  });
  const std::byte* block = stage.weights;
  for (size_t b = 0; b < stage.blocks; ++b) {
    prefetch.All();
    __m512i sum[kRows][2];
    Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
      const int32_t start = LoadInt(rows.factors + (rows.group_rows + r) * 4);
      // q4 adds 8 where q8 adds 128; the quotient is exact.
      sum[r][0] = sum[r][1] = _mm512_set1_epi32(kType == WeightType::kQ8 ? start : start / 16);
    });
    Repeat<2 / kTiles>([&](auto turn) __attribute__((always_inline)) {
      for (size_t step = 0; step < kSteps; ++step) {
        __m512i w[kTiles];
        Repeat<kTiles>([&](auto u) __attribute__((always_inline)) {
          w[u] = Unsigned<kType>(block + TileOffset(kType, turn * kTiles + u), step);
        });
        Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
          const __m512i x =
              _mm512_set1_epi32(LoadInt(rows.values + r * kInt8BlockBytes + step * 4));
          Repeat<kTiles>([&](auto u) __attribute__((always_inline)) {
            __m512i& to = sum[r][turn * kTiles + u];
            to = _mm512_dpbusd_epi32(to, w[u], x);
          });
        });
      }
    });
    const __m512 scale[2] = {HalfScales(block), HalfScales(block + 32)};
    Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
      const __m512 x = _mm512_castsi512_ps(_mm512_set1_epi32(LoadInt(rows.factors + r * 4)));
      Repeat<2>([&](auto t) __attribute__((always_inline)) {
        total[r][t] =
            _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[r][t]), _mm512_mul_ps(scale[t], x), total[r][t]);
      });
    });
    rows.values += rows.group_rows * kInt8BlockBytes;
    rows.factors += rows.group_rows * kInt8FactorBytes;
    block += kBytes;
    prefetch.NextBlock();
  }
  Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
    Repeat<2>([&](auto t) __attribute__((always_inline)) {
      _mm512_store_ps(out + r * kPanelOutputs + t * kLanes, total[r][t]);
    });
  });
}

template <WeightType kType>
void MultiplyRowTile(size_t count, const Rows& rows, const Stage& stage, WeightPrefetch prefetch,
                     float* out) {
  switch (count) {
    case 1:
      return MultiplyTile<kType, 1>(rows, stage, prefetch, out);
    case 2:
      return MultiplyTile<kType, 2>(rows, stage, prefetch, out);
    case 3:
      return MultiplyTile<kType, 3>(rows, stage, prefetch, out);
    case 4:
      return MultiplyTile<kType, 4>(rows, stage, prefetch, out);
    case 5:
      return MultiplyTile<kType, 5>(rows, stage, prefetch, out);
    default:
      return MultiplyTile<kType, kTileRows>(rows, stage, prefetch, out);
  }
}

template <WeightType kType>
void MultiplyPanel(const StripTask& task) {
  constexpr size_t kBytes = BlockBytes(kType);
  const size_t blocks = Blocks(task.inputs);
  const Panel panel = {.weights = task.weights, .blocks = blocks, .block_bytes = kBytes};
  const size_t stages = task.row_count <= kTileRows ? 1 : StageCount(panel);
  __builtin_memset(task.out, 0, task.row_count * kPanelOutputs * sizeof(float));
  for (size_t i = 0; i < stages; ++i) {
    const Stage stage = StageOf(panel, i, stages, /*fresh=*/task.row_begin == 0);
    for (size_t row = 0; row < task.row_count;) {
      const Group group = GroupOf(task.row_begin + row, task.kind.rows);
      const size_t place = task.row_begin + row - group.first;
      const size_t left = group.rows - place;
      const size_t tiles = (left + kTileRows - 1) / kTileRows;
      const size_t count = (left + tiles - 1) / tiles;
      const Rows rows = {.values = task.rows + Int8Offset(group, task.inputs) +
                                   (stage.first * group.rows + place) * kInt8BlockBytes,
                         .factors = task.rows + FactorOffset(group, task.kind.rows, task.inputs) +
                                    stage.first * group.rows * kInt8FactorBytes + place * 4,
                         .group_rows = group.rows};
      MultiplyRowTile<kType>(
          count, rows, stage,
          PrefetchOf(stage, {.first = row, .count = count, .all = task.row_count}),
          task.out + row * kPanelOutputs);
      row += count;
    }
  }
}

}  // namespace

void MultiplyPanelInt8(const StripTask& task) {
  task.kind.type == WeightType::kQ8 ? MultiplyPanel<WeightType::kQ8>(task)
                                    : MultiplyPanel<WeightType::kQ4>(task);
}

}  // namespace tessera::kernels::avx512
