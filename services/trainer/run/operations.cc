#include "services/trainer/run/operations.h"

namespace tessera::trainer {

StepOperations OperationsOf(const ParameterLayout& layout, const MuonOptions& muon, size_t tokens,
                            size_t loss_tokens) {
  constexpr double kPerWeight = 6;  // a multiplication and an addition, forward and twice backward
  StepOperations operations;
  for (const Linear& linear : layout.linears) {
    const bool is_head = linear.offset == layout.head.offset;
    const size_t used = linear.count > 1 ? layout.spec.top_k : 1;
    operations.products += kPerWeight * static_cast<double>(linear.out * linear.in * used) *
                           static_cast<double>(is_head ? loss_tokens : tokens);
  }
  for (const Parameter& parameter : layout.parameters) {
    if (!parameter.is_hidden_matrix()) continue;
    operations.muon += static_cast<double>(parameter.count) *
                       OrthogonalizeFlops(parameter.rows, parameter.cols, muon.iterations);
  }
  return operations;
}

}  // namespace tessera::trainer
