// Products of int8 tiles, block by block: tiles go to a ring in L1 and are folded into the float32
// sums a chunk of four blocks later, while the next chunk's tiles are under way.

#include <immintrin.h>

#include "common/kernels/strip_amx.h"
#include "common/kernels/strip_avx512.h"
#include "common/kernels/tiles_amx.h"

namespace tessera::kernels::amx {
namespace {

using avx512::Blocks;
using avx512::FactorOffset;
using avx512::Group;
using avx512::GroupOf;
using avx512::Int8Offset;
using avx512::kGroupRows;
using avx512::kInt8BlockBytes;
using avx512::kInt8FactorBytes;
using avx512::kLanes;
using avx512::kPrefetchAheadBytes;
using avx512::Smaller;

// vpdpbusd is faster up to four rows; both give the same bits.
constexpr size_t kVectorRows = 4;
constexpr size_t kChunk = 4;        // blocks
constexpr size_t kSumBytes = 1024;  // of one tile: 16 lines of 16 int32
constexpr size_t kInt8TileBytes = TileLines(WeightType::kQ8) * kLineBytes;

// Integer sums of a chunk, and int8 weights for it where they are stored in another way.
struct alignas(64) Chunk {
  std::byte sums[kChunk][2][kSumBytes];
  std::byte weights[kChunk][2][kInt8TileBytes];
};

// Lines of q4 as lines of q8: low nibbles first.
void ExpandBlock(const std::byte* block, std::byte (&out)[2][kInt8TileBytes]) {
  constexpr size_t kTile[2] = {TileOffset(WeightType::kQ4, 0), TileOffset(WeightType::kQ4, 1)};
  constexpr size_t kLines = TileLines(WeightType::kQ4);
  const __m512i low = _mm512_set1_epi8(15);
  const __m512i eight = _mm512_set1_epi8(8);
  for (size_t t = 0; t < 2; ++t) {
    for (size_t j = 0; j < kLines; ++j) {
      const __m512i v = _mm512_load_si512(block + kTile[t] + j * kLineBytes);
      _mm512_store_si512(out[t] + j * kLineBytes, _mm512_sub_epi8(_mm512_and_si512(v, low), eight));
      _mm512_store_si512(out[t] + (j + kLines) * kLineBytes,
                         _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(v, 4), low), eight));
    }
  }
}

// Blocks take turns between tiles 0 to 3 and 4 to 7: sums, rows, weights.
void AddEvenBlock(const std::byte* rows, const std::byte* weights0, const std::byte* weights1,
                  std::byte (&sums)[2][kSumBytes]) {
  TESSERA_TILE_LOAD(2, rows, kInt8BlockBytes);
  TESSERA_TILE_ZERO(0);
  TESSERA_TILE_LOAD(3, weights0, kLineBytes);
  TESSERA_TILE_INT8(0, 2, 3);
  TESSERA_TILE_ZERO(1);
  TESSERA_TILE_LOAD(3, weights1, kLineBytes);
  TESSERA_TILE_INT8(1, 2, 3);
  TESSERA_TILE_STORE(0, sums[0], 64);
  TESSERA_TILE_STORE(1, sums[1], 64);
}
void AddOddBlock(const std::byte* rows, const std::byte* weights0, const std::byte* weights1,
                 std::byte (&sums)[2][kSumBytes]) {
  TESSERA_TILE_LOAD(6, rows, kInt8BlockBytes);
  TESSERA_TILE_ZERO(4);
  TESSERA_TILE_LOAD(7, weights0, kLineBytes);
  TESSERA_TILE_INT8(4, 6, 7);
  TESSERA_TILE_ZERO(5);
  TESSERA_TILE_LOAD(7, weights1, kLineBytes);
  TESSERA_TILE_INT8(5, 6, 7);
  TESSERA_TILE_STORE(4, sums[0], 64);
  TESSERA_TILE_STORE(5, sums[1], 64);
}

// One group of rows times one panel.
template <WeightType kType>
class GroupProduct {
 public:
  GroupProduct(const StripTask& task, size_t row)
      : group_(GroupOf(task.row_begin + row, task.kind.rows)),
        blocks_(Blocks(task.inputs)),
        weights_(task.weights),
        values_(task.rows + Int8Offset(group_, task.inputs)),
        factors_(task.rows + FactorOffset(group_, task.kind.rows, task.inputs)),
        out_(task.out + row * kPanelOutputs),
        prefetch_(task.row_begin + row == 0) {}

  void Run() {
    TileShapes shapes;
    for (size_t half = 0; half < 8; half += 4) {
      shapes.Set(half, group_.rows, 64);
      shapes.Set(half + 1, group_.rows, 64);
      shapes.Set(half + 2, group_.rows, kInt8BlockBytes);
      shapes.Set(half + 3, kInt8TileBytes / kLineBytes, 64);
    }
    UseTileShapes(shapes);
    __builtin_memset(out_, 0, group_.rows * kPanelOutputs * sizeof(float));
    Chunk ring[2];
    const size_t chunks = (blocks_ + kChunk - 1) / kChunk;
    Expand(0, ring[0]);
    for (size_t c = 0; c < chunks; ++c) {
      if (c + 1 < chunks) Expand(c + 1, ring[(c + 1) % 2]);
      AddTiles(c, ring[c % 2]);
      if (c > 0) Fold(c - 1, ring[(c - 1) % 2]);
    }
    Fold(chunks - 1, ring[(chunks - 1) % 2]);
  }

 private:
  static constexpr size_t kBytes = BlockBytes(kType);
  static constexpr size_t kTile0 = TileOffset(kType, 0);
  static constexpr size_t kTile1 = TileOffset(kType, 1);

  size_t CountOf(size_t chunk) const { return Smaller(kChunk, blocks_ - chunk * kChunk); }
  const std::byte* BlockAt(size_t chunk, size_t i) const {
    return weights_ + (chunk * kChunk + i) * kBytes;
  }

  void Expand(size_t chunk, Chunk& to) const {
    if constexpr (kType == WeightType::kQ4) {
      for (size_t i = 0; i < CountOf(chunk); ++i) ExpandBlock(BlockAt(chunk, i), to.weights[i]);
    }
  }

  void AddTiles(size_t chunk, Chunk& to) const {
    for (size_t i = 0; i < CountOf(chunk); ++i) {
      const std::byte* block = BlockAt(chunk, i);
      if (prefetch_) {
        for (size_t line = 0; line < kBytes; line += kLineBytes) {
          _mm_prefetch(block + kPrefetchAheadBytes + line, _MM_HINT_T1);
        }
      }
      constexpr bool kStored = kType == WeightType::kQ8;
      const std::byte* weights0 = kStored ? block + kTile0 : to.weights[i][0];
      const std::byte* weights1 = kStored ? block + kTile1 : to.weights[i][1];
      const std::byte* rows = values_ + (chunk * kChunk + i) * group_.rows * kInt8BlockBytes;
      if (i % 2 == 0) {
        AddEvenBlock(rows, weights0, weights1, to.sums[i]);
      } else {
        AddOddBlock(rows, weights0, weights1, to.sums[i]);
      }
    }
  }

  // The same operations in the same order as avx512::MultiplyPanelInt8.
  void Fold(size_t chunk, const Chunk& from) const {
    const size_t count = CountOf(chunk);
    __m512 scale[kChunk][2];
    for (size_t i = 0; i < count; ++i) {
      for (size_t t = 0; t < 2; ++t) {
        scale[i][t] = _mm512_cvtph_ps(
            _mm256_load_si256(reinterpret_cast<const __m256i*>(BlockAt(chunk, i) + t * 32)));
      }
    }
    const std::byte* factors = factors_ + chunk * kChunk * group_.rows * kInt8FactorBytes;
    for (size_t r = 0; r < group_.rows; ++r) {
      float* out = out_ + r * kPanelOutputs;
      __m512 total[2] = {_mm512_load_ps(out), _mm512_load_ps(out + kLanes)};
      for (size_t i = 0; i < count; ++i) {
        float x;
        __builtin_memcpy(&x, factors + i * group_.rows * kInt8FactorBytes + r * 4, sizeof(x));
        for (size_t t = 0; t < 2; ++t) {
          const __m512i sum = _mm512_load_si512(from.sums[i][t] + r * 64);
          total[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum),
                                     _mm512_mul_ps(scale[i][t], _mm512_set1_ps(x)), total[t]);
        }
      }
      _mm512_store_ps(out, total[0]);
      _mm512_store_ps(out + kLanes, total[1]);
    }
  }

  const Group group_;
  const size_t blocks_;
  const std::byte* const weights_;
  const std::byte* const values_;
  const std::byte* const factors_;
  float* const out_;
  const bool prefetch_;
};

}  // namespace

void MultiplyPanelInt8(const StripTask& task) {
  for (size_t row = 0; row < task.row_count; row += kGroupRows) {
    const size_t count = Smaller(kGroupRows, task.row_count - row);
    if (count <= kVectorRows) {
      StripTask few = task;
      few.row_begin += row;
      few.row_count = count;
      few.out += row * kPanelOutputs;
      avx512::MultiplyPanelInt8(few);
    } else if (task.kind.type == WeightType::kQ8) {
      GroupProduct<WeightType::kQ8>(task, row).Run();
    } else {
      GroupProduct<WeightType::kQ4>(task, row).Run();
    }
  }
}

}  // namespace tessera::kernels::amx
