#pragma once

// The AVX-512 files' parts of StripKernels; the AMX files use them too. Internal to them. What is
// defined here sits in an unnamed namespace, so that the linker can never give code of this
// instruction set to an object that must run without it.

#include <cstddef>

#include "common/kernels/repeat.h"
#include "common/kernels/strip_kernels.h"

namespace tessera::kernels::avx512 {

// kBF16Groups, kBF16Pairs and kInt8 keep 16 rows together, a group (the last one smaller), blocks
// of 32 inputs ascending. `g` is the number of rows of the group:
//   kBF16Groups  block = [g rows x 32 bf16]: an A tile, 64 bytes a row
//   kBF16Pairs   block = [16 pairs of inputs x g rows x 2 bf16]: a B tile, 4 g bytes a line
//   kInt8        block = [g rows x 32 int8]: an A tile, 32 bytes a row; after the blocks of all
//                groups, from the next 64-byte border, block = [g float32 scales][g int32 -128*sum]
//                x = scale * int8, scale = absmax / 127 of these 32 inputs of the row: outliers
//                cost precision in their own block only. The sums undo the offset of weights made
//                unsigned for vpdpbusd: sum((w + 128) x) - 128 sum(x).
// Rounding to bf16 is to nearest even, subnormal numbers included; NaN stays NaN.
namespace {

inline constexpr size_t kGroupRows = 16;
inline constexpr size_t kLanes = 16;            // floats of a vector
inline constexpr size_t kBF16BlockBytes = 64;   // of one row
inline constexpr size_t kInt8BlockBytes = 32;   // of one row
inline constexpr size_t kInt8FactorBytes = 8;   // of one row and block: scale and sum
inline constexpr float kInt8ScaleMin = 1e-30f;  // below, the block is taken for zeros

// How far ahead the weights are asked for by a pass that is one register tile (more tiles:
// strip_prefetch_avx512.h), into L2: 4 to 16 KB measure the same.
inline constexpr size_t kPrefetchAheadBytes = 4096;
// The same in each row of a row-major matrix.
inline constexpr size_t kRowPrefetchAheadBytes = 1024;
// Weights of a panel that stay in L1 while all rows of a pass go over them; the sums wait in `out`.
inline constexpr size_t kStageBytes = 16 * 1024;

// Tiles of a block that `rows` rows meet line by line together: each of the rows' numbers is then
// broadcast once for both. One or two rows wait for memory, and take one tile after the other so as
// to read it in order.
constexpr size_t TilesTogether(size_t rows) { return rows <= 2 ? 1 : 2; }

[[maybe_unused]] inline size_t Blocks(size_t inputs) {
  return (inputs + kBlockInputs - 1) / kBlockInputs;
}
[[maybe_unused]] inline size_t Smaller(size_t a, size_t b) { return a < b ? a : b; }

// The group that holds row `row`.
struct Group {
  size_t first;  // its first row
  size_t rows;
};
[[maybe_unused]] inline Group GroupOf(size_t row, size_t rows) {
  const size_t first = row / kGroupRows * kGroupRows;
  return {first, Smaller(kGroupRows, rows - first)};
}

// Where a group's blocks begin, and its scales and sums.
[[maybe_unused]] inline size_t BF16Offset(const Group& group, size_t inputs) {
  return group.first * Blocks(inputs) * kBF16BlockBytes;
}
[[maybe_unused]] inline size_t Int8Offset(const Group& group, size_t inputs) {
  return group.first * Blocks(inputs) * kInt8BlockBytes;
}
[[maybe_unused]] inline size_t FactorOffset(const Group& group, size_t rows, size_t inputs) {
  const size_t values = rows * Blocks(inputs) * kInt8BlockBytes;
  return (values + 63) / 64 * 64 + group.first * Blocks(inputs) * kInt8FactorBytes;
}

}  // namespace

// kBF16Groups has this much more than its rows, never used but read: a tile of 16 rows may begin at
// a group of fewer.
inline constexpr size_t kTileSlackBytes = 1024;

// Row `row` of `rows` into the form that begins at `out`.
void ConvertToBF16Groups(const float* x, size_t inputs, size_t row, size_t rows, std::byte* out);
void ConvertToBF16Pairs(const float* x, size_t inputs, size_t row, size_t rows, std::byte* out);
void ConvertToInt8(const float* x, size_t inputs, size_t row, size_t rows, std::byte* out);

// kPanels, rows in kFloat32: one chain of fused multiply-adds an output, k ascending.
void MultiplyPanelFloat(const StripTask& task);
// kRows, rows in kFloat32: sixteen lanes along k, summed in a fixed order at the end.
void MultiplyRowsFloat(const StripTask& task);
// bf16 weights, rows in kBF16Groups. Needs avx512_bf16.
void MultiplyPanelBF16(const StripTask& task);
void MultiplyRowsBF16(const StripTask& task);
// kPanels of q8 or q4, rows in kInt8: exact integer sums a block, one fused multiply-add with the
// product of both scales, blocks ascending. Needs avx512_vnni. row_begin may be any multiple of 16.
void MultiplyPanelInt8(const StripTask& task);

// What strip_kernels_avx512.cc and strip_kernels_amx.cc share; `bf16` and `vnni` say what the CPU
// has.
RowForm FormOf(const ProductKind& kind, bool bf16, bool vnni);
size_t FormBytes(RowForm form, size_t rows, size_t inputs);
void ConvertRow(RowForm form, const float* x, size_t inputs, size_t row, size_t rows,
                std::byte* converted);
void Multiply(const StripTask& task);

}  // namespace tessera::kernels::avx512
