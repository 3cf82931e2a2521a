// Compiled without the instruction set: only chooses.

#include "common/kernels/strip_amx.h"
#include "common/kernels/strip_avx512.h"

namespace tessera::kernels {
namespace {

// From here on weights made bf16 beat integer tiles (by 10 % at 16 rows, 30 to 40 % at 32); but
// their bits differ, so a row's would depend on its company.
constexpr size_t kDequantisedRows = 16;

RowForm FormOf(const ProductKind& kind) {
  if (kind.arithmetic == Arithmetic::kFast) {
    if (kind.type == WeightType::kBF16 && kind.layout == WeightLayout::kRows) {
      return RowForm::kBF16Pairs;
    }
    if (IsQuantised(kind.type) && !kind.batch_invariant && kind.rows >= kDequantisedRows) {
      return RowForm::kBF16Groups;
    }
  }
  return avx512::FormOf(kind, /*bf16=*/true, /*vnni=*/true);
}

void Multiply(const StripTask& task) {
  switch (task.form) {
    case RowForm::kBF16Pairs:
      return amx::MultiplyRowsBF16(task);
    case RowForm::kBF16Groups:
      return IsQuantised(task.kind.type) ? amx::MultiplyPanelDequantised(task)
                                         : amx::MultiplyPanelBF16(task);
    case RowForm::kInt8:
      return amx::MultiplyPanelInt8(task);
    case RowForm::kFloat32:
    case RowForm::kInt16:
      return avx512::Multiply(task);
  }
}

void SiluMul(const float* gate, const float* up, size_t count, float* out) {
  Avx2StripKernels().silu_mul(gate, up, count, out);
}

constexpr StripKernels kKernels = {.form = &FormOf,
                                   .form_bytes = &avx512::FormBytes,
                                   .convert_row = &avx512::ConvertRow,
                                   .multiply = &Multiply,
                                   .silu_mul = &SiluMul,
                                   .release = &amx::ReleaseTiles};

}  // namespace

const StripKernels& AmxStripKernels() { return kKernels; }

}  // namespace tessera::kernels
