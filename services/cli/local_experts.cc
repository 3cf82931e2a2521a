#include "services/cli/local_experts.h"

namespace tessera::cli {

absl::StatusOr<router::InFlight> ObservedExperts::Send(LayerIndex layer, const Routed& routed) {
  if (observer_) observer_(layer, routed.routing);
  seen_.assign(seen_.size(), false);
  for (const uint32_t expert : routed.routing.experts) {
    if (expert >= seen_.size()) seen_.resize(expert + 1);
    if (!seen_[expert]) weight_bytes_read_ += expert_bytes_;
    seen_[expert] = true;
  }
  return calls_.Send(layer, routed);
}

}  // namespace tessera::cli
