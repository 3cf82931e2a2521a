#include "services/cli/local_experts.h"

namespace tessera::cli {

absl::StatusOr<router::InFlight> LocalExperts::Send(LayerIndex layer, const Routed& routed) {
  if (observer_) observer_(layer, routed.routing);
  seen_.assign(seen_.size(), false);
  for (uint32_t expert : routed.routing.experts) {
    if (expert >= seen_.size()) seen_.resize(expert + 1);
    if (seen_[expert]) continue;
    seen_[expert] = true;
    const kernels::SwiGluWeights* weights = store_.Find(layer, ExpertId{expert});
    if (weights != nullptr) weight_bytes_read_ += weights->size_bytes();
  }
  return router::InFlight{layer, routed};
}

absl::Status LocalExperts::Receive(const router::InFlight& calls, MatrixView sum) {
  return ffn_.Run(calls.layer, calls.routed, sum);
}

}  // namespace tessera::cli
