#pragma once

// A stored matrix as a checkpoint holds it: raw numbers of some dtype, row-major, perhaps with
// block scales.

#include <cstddef>
#include <span>

#include "common/tensor/dtype.h"

namespace tessera {

// Scales of a block-quantised tensor (compressed-tensors "float-quantized", strategy block):
// value[r][c] = stored[r][c] * scale[r / block_rows][c / block_cols].
struct BlockScales {
  const std::byte* data =
      nullptr;  // [ceil(rows/block_rows), ceil(cols/block_cols)], row-major; null: no scales
  DType dtype = DType::kF32;  // kF32, kBF16, kF16 or kF8E8M0 (value 2^(byte-127))
  size_t block_rows = 128;
  size_t block_cols = 128;
};

// Non-owning; the memory must outlive it. `data` need not be aligned to the element size.
struct TensorView {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  size_t rows = 0;  // a vector is one row
  size_t cols = 0;
  BlockScales scales;

  size_t size_bytes() const { return rows * cols * SizeOf(dtype); }
  // Rows [begin, begin + count). With block scales `begin` must be a multiple of block_rows.
  TensorView Rows(size_t begin, size_t count) const;
};

// Widens row `row` to float32, scales applied; out is [cols]. dtype must be a float format.
void ReadRow(const TensorView& tensor, size_t row, std::span<float> out);

}  // namespace tessera
