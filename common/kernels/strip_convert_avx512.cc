// Rows in the forms of strip_avx512.h.

#include <immintrin.h>

#include <cstdint>

#include "common/kernels/strip_avx512.h"

namespace tessera::kernels::avx512 {
namespace {

// Inputs of a block that exist, as lanes of its first and its second vector.
struct BlockMask {
  __mmask16 low;
  __mmask16 high;
};
BlockMask MaskOf(size_t k, size_t inputs) {
  const size_t count = Smaller(kBlockInputs, inputs - k);
  const uint64_t bits = (uint64_t{1} << count) - 1;
  return {static_cast<__mmask16>(bits), static_cast<__mmask16>(bits >> 16)};
}

struct Block {
  __m512 low;
  __m512 high;
};
Block LoadBlock(const float* x, size_t k, size_t inputs) {
  const BlockMask mask = MaskOf(k, inputs);
  return {_mm512_maskz_loadu_ps(mask.low, x + k), _mm512_maskz_loadu_ps(mask.high, x + k + kLanes)};
}

// In the low half of each lane.
__m512i RoundToBF16(__m512 v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i truncated = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(truncated, _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_srli_epi32(
      _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  return _mm512_mask_or_epi32(rounded, nan, truncated, _mm512_set1_epi32(0x40));
}

// 32 inputs as bf16.
__m512i BF16Block(const float* x, size_t k, size_t inputs) {
  const Block block = LoadBlock(x, k, inputs);
  return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(RoundToBF16(block.low))),
                            _mm512_cvtepi32_epi16(RoundToBF16(block.high)), 1);
}

// NaN counts as larger than all: it has the largest bits.
float AbsMax(const Block& block) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m512i low = _mm512_and_si512(_mm512_castps_si512(block.low), magnitude);
  const __m512i high = _mm512_and_si512(_mm512_castps_si512(block.high), magnitude);
  const uint32_t bits = _mm512_reduce_max_epu32(_mm512_max_epu32(low, high));
  return __builtin_bit_cast(float, bits);
}

}  // namespace

void ConvertToBF16Groups(const float* x, size_t inputs, size_t row, size_t rows, std::byte* out) {
  const Group group = GroupOf(row, rows);
  std::byte* to = out + BF16Offset(group, inputs) + (row - group.first) * kBF16BlockBytes;
  for (size_t k = 0; k < inputs; k += kBlockInputs) {
    _mm512_store_si512(to, BF16Block(x, k, inputs));
    to += group.rows * kBF16BlockBytes;
  }
}

void ConvertToBF16Pairs(const float* x, size_t inputs, size_t row, size_t rows, std::byte* out) {
  const Group group = GroupOf(row, rows);
  std::byte* to = out + BF16Offset(group, inputs) + (row - group.first) * 4;
  const __m512i lines = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i units = _mm512_mullo_epi32(lines, _mm512_set1_epi32(static_cast<int>(group.rows)));
  for (size_t k = 0; k < inputs; k += kBlockInputs) {
    _mm512_i32scatter_epi32(to, units, BF16Block(x, k, inputs), 4);
    to += group.rows * kBF16BlockBytes;
  }
}

void ConvertToInt8(const float* x, size_t inputs, size_t row, size_t rows, std::byte* out) {
  const Group group = GroupOf(row, rows);
  const size_t place = row - group.first;
  std::byte* to = out + Int8Offset(group, inputs) + place * kInt8BlockBytes;
  std::byte* factors = out + FactorOffset(group, rows, inputs) + place * 4;
  for (size_t k = 0; k < inputs; k += kBlockInputs) {
    const Block block = LoadBlock(x, k, inputs);
    const float absmax = AbsMax(block);
    const bool zero = absmax < kInt8ScaleMin;
    const float scale = zero ? 0.0f : absmax / 127.0f;  // NaN makes the row's results NaN
    const __m512 inverse = _mm512_set1_ps(zero ? 0.0f : 127.0f / absmax);
    const __m512i low = _mm512_cvtps_epi32(_mm512_mul_ps(block.low, inverse));
    const __m512i high = _mm512_cvtps_epi32(_mm512_mul_ps(block.high, inverse));
    _mm_store_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(low));
    _mm_store_si128(reinterpret_cast<__m128i*>(to + 16), _mm512_cvtsepi32_epi8(high));
    // Unsigned: a row that holds NaN overflows, and its scale makes that NaN again.
    const uint32_t offset =
        -128u * static_cast<uint32_t>(_mm512_reduce_add_epi32(_mm512_add_epi32(low, high)));
    __builtin_memcpy(factors, &scale, 4);
    __builtin_memcpy(factors + group.rows * 4, &offset, 4);
    to += group.rows * kInt8BlockBytes;
    factors += group.rows * kInt8FactorBytes;
  }
}

}  // namespace tessera::kernels::avx512
