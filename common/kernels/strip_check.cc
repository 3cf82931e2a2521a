#include "common/kernels/strip_check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/kernels/scratch.h"
#include "common/tensor/dtype.h"

namespace tessera::kernels {
namespace {

constexpr size_t kInputs = 80;                                // two blocks and a half
constexpr std::array<size_t, 4> kRowCounts = {1, 5, 21, 37};  // one, two and three groups of 16
constexpr size_t kRowsMax = 37;

// Numbers without a pattern that a wrong layout could repeat.
int Hash(size_t a, size_t b) {
  const uint64_t mixed = (a * 2654435761u + b * 40503u + 12345u) * 0x9e3779b97f4a7c15u;
  return static_cast<int>(mixed >> 40 & 0xffff);
}

// -127 .. 127, and one of the two in every 16 inputs: int8 rows and weights of q8 have scale 1.
float Integer(size_t a, size_t k, size_t salt) {
  const int hash = Hash(a + salt, k);
  if (k % 16 == a % 16) return hash % 2 == 0 ? 127.0f : -127.0f;
  return static_cast<float>(hash % 255 - 127);
}
// -8 .. 7, and -8 in every 16 inputs: weights of q4 have scale 1.
float SmallInteger(size_t n, size_t k) {
  return k % 16 == n % 16 ? -8.0f : static_cast<float>(Hash(n, k) % 16 - 8);
}

struct Rows {
  Rows() {
    for (size_t r = 0; r < kRowsMax; ++r) {
      for (size_t k = 0; k < kInputs; ++k) values[r][k] = Integer(r, k, 0);
    }
  }
  float values[kRowsMax][kInputs];
};

// Weights [32, kInputs] and their exact products with the rows.
struct Known {
  Known(const Rows& rows, bool small) {
    for (size_t k = 0; k < kInputs; ++k) {
      float column[kPanelOutputs];
      for (size_t n = 0; n < kPanelOutputs; ++n) {
        column[n] = small ? SmallInteger(n, k) : Integer(n, k, 1000);
        weights[n][k] = column[n];
        narrow[n][k] = ToBF16(column[n]);
        weight_sum[n] += std::fabs(column[n]);
      }
      for (size_t r = 0; r < kRowsMax; ++r) {
        for (size_t n = 0; n < kPanelOutputs; ++n) product[r][n] += column[n] * rows.values[r][k];
      }
    }
  }
  TensorView View(WeightType type, size_t outputs) const {
    const bool wide = type == WeightType::kF32;
    return {.data = wide ? reinterpret_cast<const std::byte*>(weights)
                         : reinterpret_cast<const std::byte*>(narrow),
            .dtype = wide ? DType::kF32 : DType::kBF16,
            .rows = outputs,
            .cols = kInputs};
  }
  float weights[kPanelOutputs][kInputs];
  BF16 narrow[kPanelOutputs][kInputs];
  float weight_sum[kPanelOutputs] = {};  // of magnitudes
  float product[kRowsMax][kPanelOutputs] = {};
};

// One level under the check.
class Check {
 public:
  explicit Check(const StripKernels& kernels) : kernels_(kernels) {}
  absl::Status Run();

 private:
  absl::Status Matrix(const WeightMatrix& weights, const Known& known);
  absl::Status Product(const ProductKind& kind, const WeightMatrix& weights, const Known& known);

  const StripKernels& kernels_;
  const Rows rows_;
  Scratch scratch_;
};

absl::Status Check::Product(const ProductKind& kind, const WeightMatrix& weights,
                            const Known& known) {
  const RowForm form = kernels_.form(kind);
  std::byte* converted = scratch_.Shared(kernels_.form_bytes(form, kind.rows, kInputs));
  for (size_t r = 0; r < kind.rows; ++r) {
    kernels_.convert_row(form, rows_.values[r], kInputs, r, kind.rows, converted);
  }
  alignas(64) float out[kPassRows * kPanelOutputs];
  std::fill(std::begin(out), std::end(out), NAN);
  kernels_.multiply({.kind = kind,
                     .form = form,
                     .weights = weights.data(),
                     .outputs = weights.outputs(),
                     .inputs = kInputs,
                     .rows = converted,
                     .row_begin = 0,
                     .row_count = kind.rows,
                     .out = out});
  for (size_t r = 0; r < kind.rows; ++r) {
    for (size_t n = 0; n < weights.outputs(); ++n) {
      const float expected = known.product[r][n];
      const float got = out[r * kPanelOutputs + n];
      // Half a step of 127 / 32767 each, and a rounding of 2^-24 for each of three blocks' sums.
      const float bound =
          form == RowForm::kInt16 ? (0.51f / 32767 + 0x1p-20f) * 127 * known.weight_sum[n] : 0.0f;
      if (std::fabs(got - expected) <= bound) continue;  // NaN is not
      return absl::InternalError(
          absl::StrCat(std::string(NameOf(kind.type)),
                       kind.layout == WeightLayout::kPanels ? " panels" : " rows",
                       kind.arithmetic == Arithmetic::kFast ? ", fast" : ", float32", ": ", got,
                       " instead of ", expected, " in row ", r, " of ", kind.rows, ", output ", n));
    }
  }
  return absl::OkStatus();
}

absl::Status Check::Matrix(const WeightMatrix& weights, const Known& known) {
  ProductKind kind = {.type = weights.type(), .layout = weights.layout()};
  for (const size_t rows : kRowCounts) {
    kind.rows = rows;
    kind.arithmetic = Arithmetic::kFloat32;
    TESSERA_RETURN_IF_ERROR(Product(kind, weights, known));
    kind.arithmetic = Arithmetic::kFast;
    const RowForm form = kernels_.form(kind);
    TESSERA_RETURN_IF_ERROR(Product(kind, weights, known));
    kind.batch_invariant = false;
    if (kernels_.form(kind) != form) TESSERA_RETURN_IF_ERROR(Product(kind, weights, known));
    kind.batch_invariant = true;
  }
  return absl::OkStatus();
}

absl::Status Check::Run() {
  const Known known(rows_, /*small=*/false);
  const Known known_small(rows_, /*small=*/true);
  for (const WeightType type :
       {WeightType::kF32, WeightType::kBF16, WeightType::kQ8, WeightType::kQ4}) {
    const Known& numbers = type == WeightType::kQ4 ? known_small : known;
    TESSERA_ASSIGN_OR_RETURN(const WeightMatrix packed,
                             WeightMatrix::Pack(numbers.View(type, kPanelOutputs), type));
    TESSERA_RETURN_IF_ERROR(Matrix(packed, numbers));
    if (IsQuantised(type)) continue;
    for (const size_t outputs : {kPanelOutputs, kPanelOutputs - 5}) {
      TESSERA_ASSIGN_OR_RETURN(const WeightMatrix borrowed,
                               WeightMatrix::Borrow(numbers.View(type, outputs)));
      TESSERA_RETURN_IF_ERROR(Matrix(borrowed, numbers));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckStrips(const StripKernels& kernels) {
  const absl::Status status = Check(kernels).Run();
  if (kernels.release != nullptr) kernels.release();
  return status;
}

}  // namespace tessera::kernels
