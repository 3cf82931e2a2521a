#pragma once

// The AVX2 files' parts of StripKernels. Internal to them.

#include <immintrin.h>

#include <cstddef>
#include <type_traits>

#include "common/kernels/repeat.h"
#include "common/kernels/strip_kernels.h"

namespace tessera::kernels::avx2 {

// Row r of kFloat32 lies r * FloatStride(inputs) floats from the first. The 16 extra floats keep
// rows of a power of two apart in the cache's sets.
inline constexpr size_t FloatStride(size_t inputs) {
  return BlockCount(inputs) * kBlockInputs + 16;
}

// A row of kInt16, all of it on 64-byte borders:
//   [float scale, padded to 64 B][int16: per 4 inputs k0 k2 k1 k3][int32 per block of 32: -8 * sum]
// with x = scale * int16, scale = absmax / 32767. The order makes a 4-byte broadcast meet the even
// or the odd bytes of weights, whose sign extension to int16 is a shift. The sums undo the offset
// of 4-bit weights: sum((nibble - 8) * x) = sum(nibble * x) - 8 * sum(x).
inline constexpr size_t kInt16ValuesOffset = 64;
inline constexpr size_t Int16SumsOffset(size_t inputs) {
  return kInt16ValuesOffset + BlockCount(inputs) * kBlockInputs * 2;
}
inline constexpr size_t Int16RowBytes(size_t inputs) {
  return Int16SumsOffset(inputs) + (BlockCount(inputs) * 4 + 63) / 64 * 64;
}

// How far ahead the weights are asked for, into L2. 4 to 16 KB measure the same for one row; for
// several rows, where reading must go on below the arithmetic, 16 KB are up to a sixth faster.
inline constexpr size_t kPrefetchAheadBytes = 16 * 1024;

// Blocks of weights that both tiles and all row tiles of a pass go over in turn before the next
// blocks; the sums wait in `out`. Many rows: what fits into L1 beside them. Fewer still wait for
// memory, and small stages let it work while they compute. Two rows take both tiles of a block in
// one go. Everywhere the aim is to read memory in order: taking line j of both tiles together cost
// a third of the speed at one row.
inline constexpr size_t StageBlocks(WeightType type, size_t rows, size_t blocks) {
  if (rows <= 2) return blocks;
  if (rows <= 6 && !IsQuantised(type)) return 1;
  return (rows < 20 ? 4 * 1024 : 16 * 1024) / BlockBytes(type);
}

void ConvertToFloat(const float* x, size_t inputs, float* out);
void ConvertToInt16(const float* x, size_t inputs, std::byte* out);

// kPanels, rows in kFloat32: one chain of fused multiply-adds an output, k ascending.
void MultiplyPanelFloat(const StripTask& task);
// kPanels of q8 or q4, rows in kInt16: exact integer sums a block, one fused multiply-add with the
// block's scale, blocks ascending; the row's scale at the end.
void MultiplyPanelInt16(const StripTask& task);
// kRows, rows in kFloat32: eight lanes along k, summed in a fixed order at the end.
void MultiplyRowsFloat(const StripTask& task);

}  // namespace tessera::kernels::avx2
