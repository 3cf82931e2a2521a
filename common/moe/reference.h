#pragma once

// The routed experts of one MoE layer in one process, plain and obvious: what dispatch, shards and
// combine together must equal.

#include <span>

#include "absl/functional/function_ref.h"
#include "common/base/ids.h"
#include "common/moe/routing.h"
#include "common/tensor/matrix_view.h"

namespace tessera {

// One expert as the checkpoint stores it.
struct ExpertMatrices {
  ConstMatrixView gate;  // [expert_width, d_model]
  ConstMatrixView up;    // [expert_width, d_model]
  ConstMatrixView down;  // [d_model, expert_width]
};

// y = down (silu(gate x) * (up x)); x and y are [d_model]. Sums in double, rounded once.
void ExpertReference(const ExpertMatrices& expert, std::span<const float> x, std::span<double> y);

// out[r] = sum over the experts e of row r, ascending, of weight(r, e) * expert_e(rows[r]).
//   out  [rows, d_model], overwritten.
void MoeReference(const Routed& routed, absl::FunctionRef<ExpertMatrices(ExpertId)> expert_of,
                  MatrixView out);

}  // namespace tessera
