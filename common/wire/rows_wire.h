#pragma once

// Rows as they lie in a frame: [rows, d_model] numbers of one RowDType, contiguous.

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/tensor/dtype.h"
#include "common/tensor/matrix_view.h"
#include "common/wire/expert_wire.h"

namespace tessera::wire {

// Received rows; valid as long as their frame. Aligned to kFrameAlignment, not to 64.
struct RowsView {
  const std::byte* data = nullptr;
  RowDType dtype = RowDType::kF32;
  size_t rows = 0;
  size_t d_model = 0;

  // Free views of the same memory; dtype must fit.
  ConstMatrixView f32() const;
  std::span<const BF16> bf16() const;  // [rows * d_model]
  // Widens one row; out is [d_model].
  void ReadRow(size_t row, std::span<float> out) const;
  // sum[i] += row[i]; sum is [d_model].
  void AddRow(size_t row, std::span<float> sum) const;
};

// Rows of a frame that is being written.
struct MutableRows {
  std::byte* data = nullptr;
  RowDType dtype = RowDType::kF32;
  size_t rows = 0;
  size_t d_model = 0;

  // Free view; dtype must be kF32: results may be computed straight into the frame.
  MatrixView f32() const;
  std::span<BF16> bf16() const;  // dtype must be kBF16; [rows * d_model]
  // Converts (rounds to nearest even) and stores one row; `row` is [d_model].
  void WriteRow(size_t index, std::span<const float> row) const;
};

// out row i = source row which[i]. Requires which.size() == out.rows and equal d_model.
void GatherRows(ConstMatrixView source, std::span<const uint32_t> which, const MutableRows& out);

}  // namespace tessera::wire
