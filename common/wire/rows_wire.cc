#include "common/wire/rows_wire.h"

#include <cstring>

#include "common/base/check.h"

namespace tessera::wire {

ConstMatrixView RowsView::f32() const {
  TESSERA_CHECK(dtype == RowDType::kF32);
  return {reinterpret_cast<const float*>(data), rows, d_model};
}

std::span<const BF16> RowsView::bf16() const {
  TESSERA_CHECK(dtype == RowDType::kBF16);
  return {reinterpret_cast<const BF16*>(data), rows * d_model};
}

void RowsView::ReadRow(size_t row, std::span<float> out) const {
  TESSERA_CHECK(row < rows && out.size() == d_model);
  if (dtype == RowDType::kF32) {
    std::memcpy(out.data(), data + row * d_model * sizeof(float), d_model * sizeof(float));
    return;
  }
  const BF16* in = bf16().data() + row * d_model;
  for (size_t i = 0; i < d_model; ++i) out[i] = ToFloat(in[i]);
}

void RowsView::AddRow(size_t row, std::span<float> sum) const {
  TESSERA_CHECK(row < rows && sum.size() == d_model);
  if (dtype == RowDType::kF32) {
    const float* in = reinterpret_cast<const float*>(data) + row * d_model;
    for (size_t i = 0; i < d_model; ++i) sum[i] += in[i];
    return;
  }
  const BF16* in = bf16().data() + row * d_model;
  for (size_t i = 0; i < d_model; ++i) sum[i] += ToFloat(in[i]);
}

MatrixView MutableRows::f32() const {
  TESSERA_CHECK(dtype == RowDType::kF32);
  return {reinterpret_cast<float*>(data), rows, d_model};
}

std::span<BF16> MutableRows::bf16() const {
  TESSERA_CHECK(dtype == RowDType::kBF16);
  return {reinterpret_cast<BF16*>(data), rows * d_model};
}

void MutableRows::WriteRow(size_t index, std::span<const float> row) const {
  TESSERA_CHECK(index < rows && row.size() == d_model);
  if (dtype == RowDType::kF32) {
    std::memcpy(data + index * d_model * sizeof(float), row.data(), d_model * sizeof(float));
    return;
  }
  BF16* out = bf16().data() + index * d_model;
  for (size_t i = 0; i < d_model; ++i) out[i] = ToBF16(row[i]);
}

void GatherRows(ConstMatrixView source, std::span<const uint32_t> which, const MutableRows& out) {
  TESSERA_CHECK(which.size() == out.rows && source.cols() == out.d_model);
  for (size_t i = 0; i < which.size(); ++i) {
    TESSERA_CHECK(which[i] < source.rows());
    out.WriteRow(i, source.row(which[i]));
  }
}

}  // namespace tessera::wire
