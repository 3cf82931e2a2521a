#pragma once

// The AMX files' parts of StripKernels. Internal to them. Rows come in the forms of strip_avx512.h.

#include "common/kernels/strip_kernels.h"

namespace tessera::kernels::amx {

// kPanels of bf16, rows in kBF16Groups: sums stay in tiles over the whole K. A row's bits are the
// same in any company: each row of a tile product is summed by itself, in the same order.
void MultiplyPanelBF16(const StripTask& task);
// The same for panels of q8 or q4, made bf16 block by block: scale * integer, rounded once.
void MultiplyPanelDequantised(const StripTask& task);
// kRows of bf16, rows in kBF16Pairs: the weights are the first factor, read as they lie.
void MultiplyRowsBF16(const StripTask& task);
// kPanels of q8 or q4, rows in kInt8: integer tiles a block, folded into float32 with the scales.
// The bits are those of avx512::MultiplyPanelInt8, which takes groups of few rows.
void MultiplyPanelInt8(const StripTask& task);

// Gives the calling thread's tiles back: they hold 8 KB that every task switch would save, and keep
// a core from its deeper sleep.
void ReleaseTiles();

}  // namespace tessera::kernels::amx
