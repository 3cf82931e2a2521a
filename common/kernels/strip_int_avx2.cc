// Panels of q8 or q4 times int16 rows.
//
// Range: |int8| <= 127 (nibble: 15) times |int16| <= 32767, 32 of them and the offset's sum stay
// below 2^28, so int32 sums of a block are exact and their order is free; a multiply-add of pairs
// cannot overflow. The error against exact arithmetic is that of the rows' rounding (half a step of
// absmax / 32767 each), of one conversion to float32 a block, and of the float32 chain over blocks.
//
// Speed: a multiply-add of 16 pairs and the addition of its result pass 1.5 a cycle on Zen 3, 1.5
// times the products of float32 at its peak; of that the shifts and the scales leave 1.2. Widening
// the weights once for all rows of a pass was tried and measured the same.

#include <algorithm>
#include <cstring>

#include "common/kernels/strip_avx2.h"

namespace tessera::kernels::avx2 {
namespace {

// Rows of a register tile: 8 sums by 16 outputs, and 4 registers of weights. Six rows would save
// four instructions in a hundred and have no registers for the weights.
constexpr size_t kTileRows = 4;

// The even and the odd inputs of eight outputs' four, as int16 pairs.
template <WeightType kType>
[[gnu::always_inline]] inline void WidenPairs(const std::byte* p, bool high_nibbles, __m256i& even,
                                              __m256i& odd) {
  const __m256i v = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  if constexpr (kType == WeightType::kQ8) {
    even = _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8);
    odd = _mm256_srai_epi16(v, 8);
  } else if (high_nibbles) {
    even = _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi16(15));
    odd = _mm256_srli_epi16(v, 12);
  } else {
    even = _mm256_and_si256(v, _mm256_set1_epi16(15));
    odd = _mm256_and_si256(_mm256_srli_epi16(v, 8), _mm256_set1_epi16(15));
  }
}

inline __m256i BroadcastPair(const std::byte* p) {
  return _mm256_castps_si256(_mm256_broadcast_ss(reinterpret_cast<const float*>(p)));
}

inline __m256i MultiplyAdd(__m256i sum, __m256i w, __m256i x) {
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(w, x));
  // Integer sums may be reordered, and gcc does so until it runs out of registers.
  asm("" : "+x"(sum));
  return sum;
}

// Rows of one register tile, at the first block of a stage.
struct Rows {
  const std::byte* values;
  const std::byte* sums;
  size_t stride;  // bytes from row to row, the same for both
};

// Adds `blocks` blocks of kTiles tiles to out [kRows, 32].
template <WeightType kType, size_t kRows, size_t kTiles>
[[gnu::noinline]] void MultiplyTile(Rows rows, const std::byte* tile, const std::byte* scales,
                                    size_t blocks, float* out) {
  constexpr size_t kVectors = 2 * kTiles;
  constexpr size_t kTileBytes = TileLines(kType) * kLineBytes;
  // Unknown to the compiler, which would unroll, move all sums to the end and run out of registers.
  size_t lines = TileLines(kType);
  asm("" : "+r"(lines));
  for (size_t b = 0; b < blocks; ++b) {
    __m256i sum[kRows][kVectors];
    Repeat<kRows>([&](auto r) {
      const __m256i start = kType == WeightType::kQ4 ? BroadcastPair(rows.sums + r * rows.stride)
                                                     : _mm256_setzero_si256();
      Repeat<kVectors>([&](auto v) { sum[r][v] = start; });
    });
    _mm_prefetch(scales + kPrefetchAheadBytes, _MM_HINT_T1);
    Repeat<kTiles>([&](auto t) __attribute__((always_inline)) {
      const std::byte* first = tile + t * kTileBytes;
      const auto add_line = [&](size_t line, auto high_nibbles) __attribute__((always_inline)) {
        const std::byte* p = first + line * kLineBytes;
        const std::byte* x = rows.values + (line + (high_nibbles ? TileLines(kType) : 0)) * 8;
        __m256i even[2];
        __m256i odd[2];
        WidenPairs<kType>(p, high_nibbles, even[0], odd[0]);
        WidenPairs<kType>(p + 32, high_nibbles, even[1], odd[1]);
        Repeat<kRows>([&](auto r) __attribute__((always_inline)) {
          const __m256i x_even = BroadcastPair(x + r * rows.stride);
          const __m256i x_odd = BroadcastPair(x + r * rows.stride + 4);
          Repeat<2>([&](auto v) __attribute__((always_inline)) {
            __m256i& to = sum[r][2 * t + v];
            to = MultiplyAdd(to, even[v], x_even);
            to = MultiplyAdd(to, odd[v], x_odd);
          });
        });
      };
      for (size_t line = 0; line < lines; ++line) {
        _mm_prefetch(first + line * kLineBytes + kPrefetchAheadBytes, _MM_HINT_T1);
        add_line(line, std::false_type());
      }
      if constexpr (kType == WeightType::kQ4) {
        for (size_t line = 0; line < lines; ++line) add_line(line, std::true_type());
      }
    });
    Repeat<kVectors>([&](auto v) {
      const __m256 scale =
          _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(scales + v * 16)));
      Repeat<kRows>([&](auto r) {
        float* to = out + r * kPanelOutputs + v * 8;
        _mm256_store_ps(to,
                        _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[r][v]), scale, _mm256_load_ps(to)));
      });
    });
    // The results wait in L1: the compiler would rather keep them in registers it does not have.
    asm volatile("" ::: "memory");
    rows.values += kBlockInputs * 2;
    rows.sums += 4;
    tile += BlockBytes(kType);
    scales += BlockBytes(kType);
  }
}

template <WeightType kType, size_t kRows>
void MultiplyRowTile(const Rows& rows, const std::byte* block, size_t blocks, float* out) {
  if constexpr (kRows <= 2) {
    MultiplyTile<kType, kRows, 2>(rows, block + TileOffset(kType, 0), block, blocks, out);
  } else {
    for (size_t t = 0; t < 2; ++t) {
      MultiplyTile<kType, kRows, 1>(rows, block + TileOffset(kType, t), block + t * 32, blocks,
                                    out + t * kTileOutputs);
    }
  }
}

template <WeightType kType>
void MultiplyRowsOf(size_t count, const Rows& rows, const std::byte* block, size_t blocks,
                    float* out) {
  switch (count) {
    case 1:
      return MultiplyRowTile<kType, 1>(rows, block, blocks, out);
    case 2:
      return MultiplyRowTile<kType, 2>(rows, block, blocks, out);
    case 3:
      return MultiplyRowTile<kType, 3>(rows, block, blocks, out);
    default:
      return MultiplyRowTile<kType, 4>(rows, block, blocks, out);
  }
}

template <WeightType kType>
void MultiplyPanel(const StripTask& task) {
  const size_t row_bytes = Int16RowBytes(task.inputs);
  const std::byte* first = task.rows + task.row_begin * row_bytes;
  const size_t blocks = BlockCount(task.inputs);
  const size_t tiles = (task.row_count + kTileRows - 1) / kTileRows;
  const size_t stage = StageBlocks(kType, task.row_count, blocks);
  std::fill(task.out, task.out + task.row_count * kPanelOutputs, 0.0f);
  for (size_t b = 0; b < blocks; b += stage) {
    size_t row = 0;
    for (size_t t = 0; t < tiles; ++t) {
      const size_t count = (task.row_count - row + tiles - t - 1) / (tiles - t);
      const std::byte* data = first + row * row_bytes;
      const Rows rows = {.values = data + kInt16ValuesOffset + b * kBlockInputs * 2,
                         .sums = data + Int16SumsOffset(task.inputs) + b * 4,
                         .stride = row_bytes};
      MultiplyRowsOf<kType>(count, rows, task.weights + b * BlockBytes(kType),
                            std::min(stage, blocks - b), task.out + row * kPanelOutputs);
      row += count;
    }
  }
  for (size_t r = 0; r < task.row_count; ++r) {
    const __m256 scale = _mm256_broadcast_ss(reinterpret_cast<const float*>(first + r * row_bytes));
    for (size_t c = 0; c < kPanelOutputs; c += 8) {
      float* to = task.out + r * kPanelOutputs + c;
      _mm256_store_ps(to, _mm256_mul_ps(scale, _mm256_load_ps(to)));
    }
  }
}

// absmax / 32767 of a row; NaN or infinite if a number of the row is.
float ScaleOf(const float* x, size_t inputs) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i most = _mm256_setzero_si256();
  size_t k = 0;
  for (; k + 8 <= inputs; k += 8) {
    // Magnitudes compare as integers do, and NaN is the largest.
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + k));
    most = _mm256_max_epi32(most, _mm256_and_si256(bits, magnitude));
  }
  alignas(32) int lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), most);
  int result = *std::max_element(lanes, lanes + 8);
  for (; k < inputs; ++k) {
    int bits;
    std::memcpy(&bits, x + k, sizeof(bits));
    result = std::max(result, bits & 0x7fffffff);
  }
  float absmax;
  std::memcpy(&absmax, &result, sizeof(absmax));
  return absmax / 32767.0f;
}

}  // namespace

void MultiplyPanelInt16(const StripTask& task) {
  task.kind.type == WeightType::kQ8 ? MultiplyPanel<WeightType::kQ8>(task)
                                    : MultiplyPanel<WeightType::kQ4>(task);
}

void ConvertToInt16(const float* x, size_t inputs, std::byte* out) {
  const float scale = ScaleOf(x, inputs);
  std::memcpy(out, &scale, sizeof(scale));
  // Below 2^-126 the inverse would overflow; such a row is nothing but zeros to its weights.
  const float inverse = scale < 0x1p-126f ? 0.0f : 1.0f / scale;
  std::byte* values = out + kInt16ValuesOffset;
  std::byte* sums = out + Int16SumsOffset(inputs);
  // Words 0..3 of each 8 bytes become 0 2 1 3.
  const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0, 1,
                                         4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
  for (size_t k = 0; k < inputs; k += kBlockInputs) {
    alignas(32) float tail[kBlockInputs] = {};
    const float* from = x + k;
    if (inputs - k < kBlockInputs) {
      std::memcpy(tail, from, (inputs - k) * sizeof(float));
      from = tail;
    }
    __m256i total = _mm256_setzero_si256();
    for (size_t half = 0; half < 2; ++half) {
      __m256i v[2];
      for (size_t i = 0; i < 2; ++i) {
        v[i] = _mm256_cvtps_epi32(
            _mm256_mul_ps(_mm256_loadu_ps(from + half * 16 + i * 8), _mm256_set1_ps(inverse)));
      }
      const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(v[0], v[1]), 0xd8);
      total = _mm256_add_epi32(total, _mm256_madd_epi16(words, _mm256_set1_epi16(1)));
      _mm256_store_si256(reinterpret_cast<__m256i*>(values + k * 2 + half * 32),
                         _mm256_shuffle_epi8(words, order));
    }
    alignas(32) int lanes[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), total);
    int sum = 0;
    for (const int lane : lanes) sum -= 8 * lane;
    std::memcpy(sums + k / kBlockInputs * 4, &sum, sizeof(sum));
  }
}

}  // namespace tessera::kernels::avx2
