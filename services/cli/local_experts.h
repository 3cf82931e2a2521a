#pragma once

#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "services/expert_shard/experts/expert_ffn.h"
#include "services/expert_shard/experts/expert_store.h"
#include "services/router/dispatch/expert_calls.h"

namespace tessera::cli {

// All experts in this process, no transport: what `--shards=0` means, and what disaggregation is
// measured against. Owned by the engine thread.
class LocalExperts final : public router::ExpertCalls {
 public:
  // Sees the routing of every call before it is computed.
  using Observer = std::function<void(LayerIndex layer, const RoutingView& routing)>;

  // Both references are borrowed; `observer` may be empty.
  LocalExperts(const expert_shard::ExpertStore& store, const kernels::Compute& compute,
               Observer observer)
      : store_(store), ffn_(store, compute), observer_(std::move(observer)) {}

  absl::StatusOr<router::InFlight> Send(LayerIndex layer, const Routed& routed) override;
  absl::Status Receive(const router::InFlight& calls, MatrixView sum) override;

  // Bytes of expert weights that have been read so far: each expert once a call.
  size_t weight_bytes_read() const { return weight_bytes_read_; }

 private:
  const expert_shard::ExpertStore& store_;
  expert_shard::ExpertFfn ffn_;
  const Observer observer_;
  std::vector<bool> seen_;  // [experts] of the call that is counted
  size_t weight_bytes_read_ = 0;
};

}  // namespace tessera::cli
