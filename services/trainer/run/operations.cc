#include "services/trainer/run/operations.h"

namespace tessera::trainer {

StepOperations OperationsOf(const ParameterLayout& layout, const MuonOptions& muon, size_t tokens,
                            size_t loss_tokens) {
  // A multiplication and an addition a weight.
  constexpr double kForward = 2, kBackward = 4;
  StepOperations operations;
  for (const Linear& linear : layout.linears) {
    const bool is_head = linear.offset == layout.head.offset;
    const size_t used = linear.count > 1 ? layout.spec.top_k : 1;
    operations.products += (kForward + kBackward) *
                           static_cast<double>(linear.out * linear.in * used) *
                           static_cast<double>(is_head ? loss_tokens : tokens);
  }
  // The router's gradient comes through the chosen experts' rows alone.
  const ModelSpec& spec = layout.spec;
  operations.products -= kBackward * static_cast<double>(tokens * spec.moe_layer_count()) *
                         static_cast<double>((spec.expert_count - spec.top_k) * spec.d_model);
  for (const Parameter& parameter : layout.parameters) {
    if (!parameter.is_hidden_matrix()) continue;
    operations.muon += static_cast<double>(parameter.count) *
                       OrthogonalizeFlops(parameter.rows, parameter.cols, muon.iterations);
  }
  return operations;
}

}  // namespace tessera::trainer
