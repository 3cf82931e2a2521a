// Products of bf16 tiles. C tiles are 0 to 5 at most: 2 group + half of the panel.
//
//   rows <= 16  C 0 1          A 4    B 6 7  shapes of exactly the rows: as many cycles a product
//   rows <= 32  C 0 1 2 3      A 4 5  B 6 7  each tile loaded serves two products
//   rows <= 48  C 0 1 2 3 4 5  A 6    B 7    16 rows throughout; those past the end are not stored

#include <immintrin.h>

#include "common/kernels/strip_amx.h"
#include "common/kernels/strip_avx512.h"
#include "common/kernels/tiles_amx.h"

namespace tessera::kernels::amx {
namespace {

using avx512::BF16Offset;
using avx512::Blocks;
using avx512::Group;
using avx512::GroupOf;
using avx512::kBF16BlockBytes;
using avx512::kGroupRows;
using avx512::kPrefetchAheadBytes;
using avx512::kRowPrefetchAheadBytes;
using avx512::Smaller;

constexpr size_t kTileBytes = 1024;  // 16 lines of 64 bytes
constexpr size_t kBF16BlockBytesOfPanel = BlockBytes(WeightType::kBF16);
constexpr size_t kOutStride = kPanelOutputs * sizeof(float);

// The rows of a pass: up to three groups at one block.
struct RowBlocks {
  const std::byte* group[3];
  size_t step[3];  // bytes from block to block
};

RowBlocks RowBlocksOf(const StripTask& task) {
  RowBlocks rows = {};
  for (size_t g = 0; g * kGroupRows < task.row_count; ++g) {
    const Group group = GroupOf(task.row_begin + g * kGroupRows, task.kind.rows);
    rows.group[g] = task.rows + BF16Offset(group, task.inputs);
    rows.step[g] = group.rows * kBF16BlockBytes;
  }
  return rows;
}

void Advance(RowBlocks& rows) {
  for (size_t g = 0; g < 3; ++g) rows.group[g] += rows.step[g];
}

template <size_t kGroups>
void ZeroSums() {
  TESSERA_TILE_ZERO(0);
  TESSERA_TILE_ZERO(1);
  if constexpr (kGroups >= 2) {
    TESSERA_TILE_ZERO(2);
    TESSERA_TILE_ZERO(3);
  }
  if constexpr (kGroups == 3) {
    TESSERA_TILE_ZERO(4);
    TESSERA_TILE_ZERO(5);
  }
}

// ---- kPanels: rows are A, weights are B ----

template <size_t kGroups>
void UsePanelShapes(size_t last_rows) {
  TileShapes shapes;
  for (size_t tile = 0; tile < 8; ++tile) shapes.Set(tile, kGroupRows, 64);
  if constexpr (kGroups == 1) {
    shapes.SetThree(0, 1, 4, last_rows, 64);
  }
  if constexpr (kGroups == 2) {
    shapes.SetThree(2, 3, 5, last_rows, 64);
  }
  UseTileShapes(shapes);
}

// Adds one block: `weights` is two B tiles.
template <size_t kGroups>
void AddPanelBlock(const RowBlocks& rows, const std::byte* weights) {
  if constexpr (kGroups == 1) {
    TESSERA_TILE_LOAD(4, rows.group[0], 64);
    TESSERA_TILE_LOAD(6, weights, 64);
    TESSERA_TILE_BF16(0, 4, 6);
    TESSERA_TILE_LOAD(7, weights + kTileBytes, 64);
    TESSERA_TILE_BF16(1, 4, 7);
  } else if constexpr (kGroups == 2) {
    TESSERA_TILE_LOAD(4, rows.group[0], 64);
    TESSERA_TILE_LOAD(6, weights, 64);
    TESSERA_TILE_BF16(0, 4, 6);
    TESSERA_TILE_LOAD(7, weights + kTileBytes, 64);
    TESSERA_TILE_BF16(1, 4, 7);
    TESSERA_TILE_LOAD(5, rows.group[1], 64);
    TESSERA_TILE_BF16(2, 5, 6);
    TESSERA_TILE_BF16(3, 5, 7);
  } else {
    TESSERA_TILE_LOAD(7, weights, 64);
    TESSERA_TILE_LOAD(6, rows.group[0], 64);
    TESSERA_TILE_BF16(0, 6, 7);
    TESSERA_TILE_LOAD(6, rows.group[1], 64);
    TESSERA_TILE_BF16(2, 6, 7);
    TESSERA_TILE_LOAD(6, rows.group[2], 64);
    TESSERA_TILE_BF16(4, 6, 7);
    TESSERA_TILE_LOAD(7, weights + kTileBytes, 64);
    TESSERA_TILE_BF16(5, 6, 7);
    TESSERA_TILE_LOAD(6, rows.group[1], 64);
    TESSERA_TILE_BF16(3, 6, 7);
    TESSERA_TILE_LOAD(6, rows.group[0], 64);
    TESSERA_TILE_BF16(1, 6, 7);
  }
}

template <size_t kGroups>
void StorePanelSums(const StripTask& task) {
  float* out = task.out;
  TESSERA_TILE_STORE(0, out, kOutStride);
  TESSERA_TILE_STORE(1, out + kTileOutputs, kOutStride);
  if constexpr (kGroups >= 2) {
    out += kGroupRows * kPanelOutputs;
    TESSERA_TILE_STORE(2, out, kOutStride);
    TESSERA_TILE_STORE(3, out + kTileOutputs, kOutStride);
  }
  if constexpr (kGroups == 3) {
    out += kGroupRows * kPanelOutputs;
    alignas(64) float last[kGroupRows * kPanelOutputs];
    TESSERA_TILE_STORE(4, last, kOutStride);
    TESSERA_TILE_STORE(5, last + kTileOutputs, kOutStride);
    __builtin_memcpy(out, last, (task.row_count - 2 * kGroupRows) * kOutStride);
  }
}

template <size_t kGroups>
void MultiplyPanel(const StripTask& task) {
  UsePanelShapes<kGroups>(task.row_count - (kGroups - 1) * kGroupRows);
  ZeroSums<kGroups>();
  RowBlocks rows = RowBlocksOf(task);
  const std::byte* block = task.weights;
  const bool prefetch = task.row_begin == 0;
  for (size_t b = Blocks(task.inputs); b > 0; --b) {
    if (prefetch) {
      for (size_t i = 0; i < kBF16BlockBytesOfPanel; i += kLineBytes) {
        _mm_prefetch(block + kPrefetchAheadBytes + i, _MM_HINT_T1);
      }
    }
    AddPanelBlock<kGroups>(rows, block);
    Advance(rows);
    block += kBF16BlockBytesOfPanel;
  }
  StorePanelSums<kGroups>(task);
}

// ---- the same with weights that are made bf16 on the way ----

constexpr size_t kRing = 4;    // blocks between making and using
constexpr size_t kBehind = 2;  // so far behind, stores have reached L1 when the tiles load them

// Which bytes of an int8 line become outputs 0..7 of its first two inputs: byte 4 (m / 2) + m % 2
// for dword m. Other outputs and inputs add to it.
struct alignas(64) ByteOrder {
  uint8_t byte[64];
};
constexpr ByteOrder OrderFrom(uint8_t add) {
  ByteOrder order = {};
  for (int m = 0; m < 16; ++m) {
    order.byte[4 * m + 3] = static_cast<uint8_t>(4 * (m / 2) + m % 2 + add);
  }
  return order;
}
constexpr ByteOrder kFirstInputs[2] = {OrderFrom(0), OrderFrom(32)};
constexpr ByteOrder kLastInputs[2] = {OrderFrom(2), OrderFrom(34)};

// Dword m is the selected byte times 2^24, or times the scale after the product.
__m512 Selected(const ByteOrder& order, __m512i line, __m512 scale) {
  constexpr __mmask64 kTopBytes = 0x8888888888888888;
  const __m512i bytes =
      _mm512_maskz_permutexvar_epi8(kTopBytes, _mm512_load_si512(order.byte), line);
  return _mm512_mul_ps(_mm512_cvtepi32_ps(bytes), scale);
}

// One line of int8 (four inputs) as two lines of bf16; scales of outputs 0..7 and 8..15, each
// twice.
void StoreLines(__m512i line, const __m512 (&scale)[2], std::byte* out) {
  const __m512bh first = _mm512_cvtne2ps_pbh(Selected(kFirstInputs[1], line, scale[1]),
                                             Selected(kFirstInputs[0], line, scale[0]));
  const __m512bh last = _mm512_cvtne2ps_pbh(Selected(kLastInputs[1], line, scale[1]),
                                            Selected(kLastInputs[0], line, scale[0]));
  _mm512_store_si512(out, (__m512i)first);
  _mm512_store_si512(out + kLineBytes, (__m512i)last);
}

template <WeightType kType>
void Dequantise(const std::byte* block, std::byte* out) {
  constexpr size_t kTile[2] = {TileOffset(kType, 0), TileOffset(kType, 1)};
  constexpr size_t kLines = TileLines(kType);
  const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  for (size_t t = 0; t < 2; ++t) {
    const __m256i half = _mm256_load_si256(reinterpret_cast<const __m256i*>(block + t * 32));
    const __m512 scales = _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(0x1p-24f));
    const __m512 scale[2] = {
        _mm512_permutexvar_ps(twice, scales),
        _mm512_permutexvar_ps(_mm512_add_epi32(twice, _mm512_set1_epi32(8)), scales)};
    for (size_t j = 0; j < kLines; ++j) {
      const __m512i v = _mm512_load_si512(block + kTile[t] + j * kLineBytes);
      std::byte* to = out + t * kTileBytes + j * 2 * kLineBytes;
      if constexpr (kType == WeightType::kQ8) {
        StoreLines(v, scale, to);
      } else {
        const __m512i low = _mm512_set1_epi8(15);
        const __m512i eight = _mm512_set1_epi8(8);
        StoreLines(_mm512_sub_epi8(_mm512_and_si512(v, low), eight), scale, to);
        StoreLines(_mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(v, 4), low), eight), scale,
                   to + kLines * 2 * kLineBytes);
      }
    }
  }
}

template <size_t kGroups, WeightType kType>
void MultiplyDequantised(const StripTask& task) {
  constexpr size_t kBytes = BlockBytes(kType);
  alignas(64) std::byte ring[kRing][2 * kTileBytes];
  UsePanelShapes<kGroups>(task.row_count - (kGroups - 1) * kGroupRows);
  ZeroSums<kGroups>();
  RowBlocks rows = RowBlocksOf(task);
  const size_t blocks = Blocks(task.inputs);
  const bool prefetch = task.row_begin == 0;
  for (size_t b = 0; b < blocks + kBehind; ++b) {
    if (b < blocks) {
      const std::byte* block = task.weights + b * kBytes;
      if (prefetch) {
        for (size_t i = 0; i < kBytes; i += kLineBytes) {
          _mm_prefetch(block + kPrefetchAheadBytes + i, _MM_HINT_T1);
        }
      }
      Dequantise<kType>(block, ring[b % kRing]);
    }
    if (b >= kBehind) {
      AddPanelBlock<kGroups>(rows, ring[(b - kBehind) % kRing]);
      Advance(rows);
    }
  }
  StorePanelSums<kGroups>(task);
}

template <WeightType kType>
void MultiplyDequantisedBy(const StripTask& task) {
  if (task.row_count <= kGroupRows) return MultiplyDequantised<1, kType>(task);
  if (task.row_count <= 2 * kGroupRows) return MultiplyDequantised<2, kType>(task);
  return MultiplyDequantised<3, kType>(task);
}

// ---- kRows: weights are A, rows are B, results are transposed ----

template <size_t kGroups>
void UseRowShapes(size_t last_rows) {
  TileShapes shapes;
  for (size_t tile = 0; tile < 8; ++tile) shapes.Set(tile, kGroupRows, 64);
  if constexpr (kGroups == 1) {
    shapes.SetThree(0, 1, 6, kGroupRows, 4 * last_rows);
  }
  if constexpr (kGroups == 2) {
    shapes.SetThree(2, 3, 7, kGroupRows, 4 * last_rows);
  }
  UseTileShapes(shapes);
}

// Adds one block of two weight tiles whose rows lie `stride` bytes apart. A line of a B tile is
// step / 16 bytes: the group's rows, a pair each.
template <size_t kGroups>
void AddRowsBlock(const RowBlocks& rows, const std::byte* weights, size_t stride) {
  const std::byte* weights1 = weights + kTileOutputs * stride;
  const size_t line0 = rows.step[0] / 16;
  const size_t line1 = rows.step[1] / 16;
  if constexpr (kGroups == 1) {
    TESSERA_TILE_LOAD(6, rows.group[0], line0);
    TESSERA_TILE_LOAD(4, weights, stride);
    TESSERA_TILE_BF16(0, 4, 6);
    TESSERA_TILE_LOAD(5, weights1, stride);
    TESSERA_TILE_BF16(1, 5, 6);
  } else if constexpr (kGroups == 2) {
    TESSERA_TILE_LOAD(6, rows.group[0], line0);
    TESSERA_TILE_LOAD(4, weights, stride);
    TESSERA_TILE_BF16(0, 4, 6);
    TESSERA_TILE_LOAD(5, weights1, stride);
    TESSERA_TILE_BF16(1, 5, 6);
    TESSERA_TILE_LOAD(7, rows.group[1], line1);
    TESSERA_TILE_BF16(2, 4, 7);
    TESSERA_TILE_BF16(3, 5, 7);
  } else {
    TESSERA_TILE_LOAD(6, weights, stride);
    TESSERA_TILE_LOAD(7, rows.group[0], line0);
    TESSERA_TILE_BF16(0, 6, 7);
    TESSERA_TILE_LOAD(7, rows.group[1], line1);
    TESSERA_TILE_BF16(2, 6, 7);
    TESSERA_TILE_LOAD(7, rows.group[2], rows.step[2] / 16);
    TESSERA_TILE_BF16(4, 6, 7);
    TESSERA_TILE_LOAD(6, weights1, stride);
    TESSERA_TILE_BF16(5, 6, 7);
    TESSERA_TILE_LOAD(7, rows.group[1], line1);
    TESSERA_TILE_BF16(3, 6, 7);
    TESSERA_TILE_LOAD(7, rows.group[0], line0);
    TESSERA_TILE_BF16(1, 6, 7);
  }
}

// in [16, 16] with lines of 64 bytes -> the first `rows` columns as rows of out, kOutStride apart.
void StoreTransposed(const float* in, size_t rows, float* out) {
  const __m512i lines =
      _mm512_setr_epi32(0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240);
  for (size_t r = 0; r < rows; ++r) {
    _mm512_store_ps(out + r * kPanelOutputs, _mm512_i32gather_ps(lines, in + r, 4));
  }
}

// The two tiles of group `g`, which the caller has stored to `sums`.
void StoreGroup(const StripTask& task, size_t g, const float (&sums)[2][kTileBytes / 4]) {
  const size_t rows = Smaller(kGroupRows, task.row_count - g * kGroupRows);
  float* out = task.out + g * kGroupRows * kPanelOutputs;
  StoreTransposed(sums[0], rows, out);
  StoreTransposed(sums[1], rows, out + kTileOutputs);
}

template <size_t kGroups>
void StoreRowsSums(const StripTask& task) {
  alignas(64) float sums[2][kTileBytes / 4];
  TESSERA_TILE_STORE(0, sums[0], 64);
  TESSERA_TILE_STORE(1, sums[1], 64);
  StoreGroup(task, 0, sums);
  if constexpr (kGroups >= 2) {
    TESSERA_TILE_STORE(2, sums[0], 64);
    TESSERA_TILE_STORE(3, sums[1], 64);
    StoreGroup(task, 1, sums);
  }
  if constexpr (kGroups == 3) {
    TESSERA_TILE_STORE(4, sums[0], 64);
    TESSERA_TILE_STORE(5, sums[1], 64);
    StoreGroup(task, 2, sums);
  }
}

// Inputs [k, k + 32) of the strip's rows as two tiles, with zeros for what does not exist.
void CopyWeights(const StripTask& task, size_t k, std::byte* out) {
  const size_t count = Smaller(kBlockInputs, task.inputs - k);
  const auto mask = static_cast<__mmask32>((uint64_t{1} << count) - 1);
  for (size_t n = 0; n < kPanelOutputs; ++n) {
    const std::byte* row = task.weights + Smaller(n, task.outputs - 1) * task.inputs * 2;
    _mm512_store_si512(out + n * 64,
                       _mm512_maskz_loadu_epi16(n < task.outputs ? mask : 0, row + k * 2));
  }
}

template <size_t kGroups>
void MultiplyRows(const StripTask& task) {
  UseRowShapes<kGroups>(task.row_count - (kGroups - 1) * kGroupRows);
  ZeroSums<kGroups>();
  RowBlocks rows = RowBlocksOf(task);
  const size_t stride = task.inputs * 2;
  const bool prefetch = task.row_begin == 0;
  alignas(64) std::byte copy[2 * kTileBytes];
  for (size_t k = 0; k < task.inputs; k += kBlockInputs) {
    if (task.outputs == kPanelOutputs && k + kBlockInputs <= task.inputs) {
      const std::byte* weights = task.weights + k * 2;
      if (prefetch) {
        for (size_t n = 0; n < kPanelOutputs; ++n) {
          _mm_prefetch(weights + n * stride + kRowPrefetchAheadBytes, _MM_HINT_T1);
        }
      }
      AddRowsBlock<kGroups>(rows, weights, stride);
    } else {
      CopyWeights(task, k, copy);
      AddRowsBlock<kGroups>(rows, copy, 64);
    }
    Advance(rows);
  }
  StoreRowsSums<kGroups>(task);
}

}  // namespace

void MultiplyPanelBF16(const StripTask& task) {
  if (task.row_count <= kGroupRows) return MultiplyPanel<1>(task);
  if (task.row_count <= 2 * kGroupRows) return MultiplyPanel<2>(task);
  return MultiplyPanel<3>(task);
}

void MultiplyPanelDequantised(const StripTask& task) {
  task.kind.type == WeightType::kQ8 ? MultiplyDequantisedBy<WeightType::kQ8>(task)
                                    : MultiplyDequantisedBy<WeightType::kQ4>(task);
}

void MultiplyRowsBF16(const StripTask& task) {
  if (task.row_count <= kGroupRows) return MultiplyRows<1>(task);
  if (task.row_count <= 2 * kGroupRows) return MultiplyRows<2>(task);
  return MultiplyRows<3>(task);
}

void ReleaseTiles() { TESSERA_TILES_RELEASE(); }

}  // namespace tessera::kernels::amx
