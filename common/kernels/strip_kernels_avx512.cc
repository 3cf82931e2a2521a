// Compiled without the instruction set: only chooses.

#include "common/base/check.h"
#include "common/kernels/strip_avx512.h"

namespace tessera::kernels {
namespace avx512 {
namespace {

template <bool kBF16, bool kVnni>
RowForm FormWith(const ProductKind& kind) {
  return FormOf(kind, kBF16, kVnni);
}

void SiluMul(const float* gate, const float* up, size_t count, float* out) {
  Avx2StripKernels().silu_mul(gate, up, count, out);
}

template <bool kBF16, bool kVnni>
constexpr StripKernels kKernels = {.form = &FormWith<kBF16, kVnni>,
                                   .form_bytes = &FormBytes,
                                   .convert_row = &ConvertRow,
                                   .multiply = &Multiply,
                                   .silu_mul = &SiluMul};

}  // namespace

RowForm FormOf(const ProductKind& kind, bool bf16, bool vnni) {
  if (kind.arithmetic == Arithmetic::kFloat32) return RowForm::kFloat32;
  if (kind.type == WeightType::kBF16 && bf16) return RowForm::kBF16Groups;
  if (kind.type == WeightType::kQ8 || kind.type == WeightType::kQ4) {
    return vnni ? RowForm::kInt8 : Avx2StripKernels().form(kind);
  }
  // bf16 without vdpbf16ps is widened: exact, and one operation more. Converted to int16 in every
  // pass, for vpdpwssd, it took 0.9 of the time at 512 rows and 1.2 times as long at 1 to 8
  // (kernels_bench, bf16 4096x1024, Ice Lake).
  return RowForm::kFloat32;
}

size_t FormBytes(RowForm form, size_t rows, size_t inputs) {
  const size_t blocks = BlockCount(inputs);
  switch (form) {
    case RowForm::kFloat32:
    case RowForm::kInt16:
      return Avx2StripKernels().form_bytes(form, rows, inputs);
    case RowForm::kBF16Groups:
    case RowForm::kBF16Pairs:
      return rows * blocks * kBF16BlockBytes + kTileSlackBytes;
    case RowForm::kInt8:
      return (rows * blocks * kInt8BlockBytes + 63) / 64 * 64 +
             (rows * blocks * kInt8FactorBytes + 63) / 64 * 64;
  }
  return 0;
}

void ConvertRow(RowForm form, const float* x, size_t inputs, size_t row, size_t rows,
                std::byte* converted) {
  switch (form) {
    case RowForm::kFloat32:
    case RowForm::kInt16:
      return Avx2StripKernels().convert_row(form, x, inputs, row, rows, converted);
    case RowForm::kBF16Groups:
      return ConvertToBF16Groups(x, inputs, row, rows, converted);
    case RowForm::kBF16Pairs:
      return ConvertToBF16Pairs(x, inputs, row, rows, converted);
    case RowForm::kInt8:
      return ConvertToInt8(x, inputs, row, rows, converted);
  }
}

void Multiply(const StripTask& task) {
  const bool panels = task.kind.layout == WeightLayout::kPanels;
  switch (task.form) {
    case RowForm::kFloat32:
      return panels ? MultiplyPanelFloat(task) : MultiplyRowsFloat(task);
    case RowForm::kInt16:
      return Avx2StripKernels().multiply(task);
    case RowForm::kBF16Groups:
      return panels ? MultiplyPanelBF16(task) : MultiplyRowsBF16(task);
    case RowForm::kInt8:
      return MultiplyPanelInt8(task);
    case RowForm::kBF16Pairs:
      break;
  }
  const bool form_of_this_level = false;
  TESSERA_CHECK(form_of_this_level);
}

}  // namespace avx512

const StripKernels& Avx512StripKernels(bool bf16, bool vnni) {
  using avx512::kKernels;
  if (bf16) return vnni ? kKernels<true, true> : kKernels<true, false>;
  return vnni ? kKernels<false, true> : kKernels<false, false>;
}

}  // namespace tessera::kernels
