#pragma once

// What a level (Isa) brings to the matrix products. The drivers (matmul.cc, swiglu.cc) share out
// the work and know nothing of instruction sets; a level computes strips and knows nothing of
// threads. A strip is 32 outputs: a panel, or 32 rows of a row-major matrix.
//
//   float32 rows --convert_row--> rows in the form the weights want --multiply--> strip [rows, 32]
//
// Internal to this room.

#include <cstddef>
#include <cstdint>

#include "common/kernels/compute.h"
#include "common/kernels/weight_layout.h"
#include "common/kernels/weight_matrix.h"

namespace tessera::kernels {

// Rows of one pass over a strip: a multiple of the register tiles of all levels (6 and 16), and a
// result of 6 KB that stays in L1.
inline constexpr size_t kPassRows = 48;

// How the rows of a product are laid out for the kernel; each level says which it wants.
enum class RowForm : uint8_t {
  kFloat32,     // as they are, padded with zeros to 32 inputs
  kInt16,       // one float32 scale a row, int16 near full range (strip_int_avx2.cc)
  kBF16Groups,  // bf16, 16 rows together (strip_avx512.h, as the next two)
  kBF16Pairs,   // the same, pairs of inputs first
  kInt8,        // one float32 scale a row and block of 32
};

// What the choice of a form may depend on. With batch_invariant a level that chooses by `rows` must
// give the same bits for every number of rows.
struct ProductKind {
  WeightType type = WeightType::kF32;
  WeightLayout layout = WeightLayout::kPanels;
  Arithmetic arithmetic = Arithmetic::kFloat32;
  bool batch_invariant = true;
  size_t rows = 0;
};

// One pass over one strip.
struct StripTask {
  ProductKind kind;
  RowForm form = RowForm::kFloat32;
  const std::byte* weights = nullptr;  // kPanels: the panel; kRows: the first of its rows
  size_t outputs = 0;                  // of the 32, those that exist (kRows); >= 1
  size_t inputs = 0;
  const std::byte* rows = nullptr;  // the converted rows of the whole product, kind.rows of them
  size_t row_begin = 0;             // the rows of this pass: a multiple of kPassRows
  size_t row_count = 0;             // 1 .. kPassRows
  float* out = nullptr;             // [row_count, 32], 64-byte aligned; columns past `outputs` are
                                    // unspecified
};

struct StripKernels {
  RowForm (*form)(const ProductKind& kind);
  // Bytes of `rows` rows of `inputs` numbers in that form; a multiple of 64.
  size_t (*form_bytes)(RowForm form, size_t rows, size_t inputs);
  // Converts row `row` of `rows` into `converted` (form_bytes, 64-byte aligned). Rows may be
  // converted in any order and by several threads.
  void (*convert_row)(RowForm form, const float* x, size_t inputs, size_t row, size_t rows,
                      std::byte* converted);
  void (*multiply)(const StripTask& task);
  // out[i] = silu(gate[i]) * up[i]; count is a multiple of 8, everything 32-byte aligned.
  void (*silu_mul)(const float* gate, const float* up, size_t count, float* out);
  // Gives back what `multiply` left in the calling thread's registers; called by each thread when
  // it is through with its strips, before it may sleep. Null: nothing to give back.
  void (*release)() = nullptr;
};

// kAvx2 and above; each level may use the functions of those below it. `features` refines kAvx512.
const StripKernels& StripKernelsOf(Isa isa, const CpuFeatures& features);

const StripKernels& Avx2StripKernels();
const StripKernels& Avx512StripKernels(bool bf16, bool vnni);
const StripKernels& AmxStripKernels();

}  // namespace tessera::kernels
