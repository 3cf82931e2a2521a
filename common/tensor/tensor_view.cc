#include "common/tensor/tensor_view.h"

#include <array>
#include <cmath>
#include <cstring>

#include "common/base/check.h"

namespace tessera {
namespace {

template <typename T>
T Load(const std::byte* p, size_t index) {
  T value;
  std::memcpy(&value, p + index * sizeof(T), sizeof(T));
  return value;
}

float LoadScale(const BlockScales& scales, size_t index) {
  switch (scales.dtype) {
    case DType::kF32:
      return Load<float>(scales.data, index);
    case DType::kBF16:
      return ToFloat(Load<BF16>(scales.data, index));
    case DType::kF16:
      return ToFloat(Load<F16>(scales.data, index));
    default:
      return std::ldexp(1.0f, static_cast<int>(Load<uint8_t>(scales.data, index)) - 127);
  }
}

std::array<float, 256> MakeF8Table() {
  std::array<float, 256> table{};
  for (int i = 0; i < 256; ++i)
    table[static_cast<size_t>(i)] = ToFloat(F8E4M3{static_cast<uint8_t>(i)});
  return table;
}

void WidenRow(const TensorView& tensor, size_t row, std::span<float> out) {
  const std::byte* p = tensor.data + row * tensor.cols * SizeOf(tensor.dtype);
  switch (tensor.dtype) {
    case DType::kF32:
      std::memcpy(out.data(), p, out.size_bytes());
      return;
    case DType::kBF16:
      for (size_t i = 0; i < out.size(); ++i) out[i] = ToFloat(Load<BF16>(p, i));
      return;
    case DType::kF16:
      for (size_t i = 0; i < out.size(); ++i) out[i] = ToFloat(Load<F16>(p, i));
      return;
    case DType::kF8E4M3: {
      static const std::array<float, 256> table = MakeF8Table();
      for (size_t i = 0; i < out.size(); ++i) out[i] = table[static_cast<size_t>(p[i])];
      return;
    }
    default:
      TESSERA_CHECK(!"a stored matrix must be F32, F16, BF16 or F8_E4M3");
  }
}

}  // namespace

TensorView TensorView::Rows(size_t begin, size_t count) const {
  TESSERA_CHECK(begin + count <= rows);
  TensorView part = *this;
  part.data += begin * cols * SizeOf(dtype);
  part.rows = count;
  if (scales.data != nullptr) {
    TESSERA_CHECK(begin % scales.block_rows == 0);
    const size_t per_row = (cols + scales.block_cols - 1) / scales.block_cols;
    part.scales.data += begin / scales.block_rows * per_row * SizeOf(scales.dtype);
  }
  return part;
}

void ReadRow(const TensorView& tensor, size_t row, std::span<float> out) {
  TESSERA_CHECK(row < tensor.rows && out.size() == tensor.cols);
  WidenRow(tensor, row, out);
  if (tensor.scales.data == nullptr) return;
  const size_t per_row = (tensor.cols + tensor.scales.block_cols - 1) / tensor.scales.block_cols;
  const size_t first = row / tensor.scales.block_rows * per_row;
  for (size_t i = 0; i < out.size(); ++i)
    out[i] *= LoadScale(tensor.scales, first + i / tensor.scales.block_cols);
}

}  // namespace tessera
