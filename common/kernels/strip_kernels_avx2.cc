#include <algorithm>
#include <cstring>

#include "common/kernels/strip_avx2.h"
#include "common/kernels/vector_math_avx2.h"

namespace tessera::kernels {
namespace avx2 {

void ConvertToFloat(const float* x, size_t inputs, float* out) {
  std::memcpy(out, x, inputs * sizeof(float));
  const size_t padded = BlockCount(inputs) * kBlockInputs;
  std::memset(out + inputs, 0, (padded - inputs) * sizeof(float));
}

}  // namespace avx2

namespace {

RowForm FormOf(const ProductKind& kind) {
  const bool integers = kind.layout == WeightLayout::kPanels && IsQuantised(kind.type) &&
                        kind.arithmetic == Arithmetic::kFast;
  return integers ? RowForm::kInt16 : RowForm::kFloat32;
}

size_t FormBytes(RowForm form, size_t rows, size_t inputs) {
  if (form == RowForm::kInt16) return rows * avx2::Int16RowBytes(inputs);
  return rows * avx2::FloatStride(inputs) * sizeof(float);
}

void ConvertRow(RowForm form, const float* x, size_t inputs, size_t row, size_t,
                std::byte* converted) {
  if (form == RowForm::kInt16) {
    avx2::ConvertToInt16(x, inputs, converted + row * avx2::Int16RowBytes(inputs));
  } else {
    avx2::ConvertToFloat(x, inputs,
                         reinterpret_cast<float*>(converted) + row * avx2::FloatStride(inputs));
  }
}

void Multiply(const StripTask& task) {
  if (task.kind.layout == WeightLayout::kRows) return avx2::MultiplyRowsFloat(task);
  if (task.form == RowForm::kInt16) return avx2::MultiplyPanelInt16(task);
  return avx2::MultiplyPanelFloat(task);
}

void SiluMul(const float* gate, const float* up, size_t count, float* out) {
  for (size_t i = 0; i < count; i += 8) {
    _mm256_store_ps(out + i, _mm256_mul_ps(Silu(_mm256_load_ps(gate + i)), _mm256_load_ps(up + i)));
  }
}

constexpr StripKernels kKernels = {.form = &FormOf,
                                   .form_bytes = &FormBytes,
                                   .convert_row = &ConvertRow,
                                   .multiply = &Multiply,
                                   .silu_mul = &SiluMul};

}  // namespace

const StripKernels& Avx2StripKernels() { return kKernels; }

}  // namespace tessera::kernels
