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
  // Both references are borrowed.
  LocalExperts(const expert_shard::ExpertStore& store, const kernels::Compute& compute)
      : ffn_(store, compute) {}

  absl::StatusOr<router::InFlight> Send(LayerIndex layer, const Routed& routed) override {
    return router::InFlight{layer, routed};
  }
  absl::Status Receive(const router::InFlight& calls, MatrixView sum) override {
    return ffn_.Run(calls.layer, calls.routed, sum);
  }

 private:
  expert_shard::ExpertFfn ffn_;
};

// Looks at calls on their way to the experts, wherever those are. Owned by the engine thread.
class ObservedExperts final : public router::ExpertCalls {
 public:
  // Sees the routing of every call before it is computed.
  using Observer = std::function<void(LayerIndex layer, const RoutingView& routing)>;

  // `calls` is borrowed; `observer` may be empty. expert_bytes: of one expert's weights.
  ObservedExperts(router::ExpertCalls& calls, size_t expert_bytes, Observer observer)
      : calls_(calls), expert_bytes_(expert_bytes), observer_(std::move(observer)) {}

  void BeginStep(std::span<const TraceContext> traces) override { calls_.BeginStep(traces); }
  absl::StatusOr<router::InFlight> Send(LayerIndex layer, const Routed& routed) override;
  absl::Status Receive(const router::InFlight& calls, MatrixView sum) override {
    return calls_.Receive(calls, sum);
  }
  void EndStep() override { calls_.EndStep(); }
  std::span<const uint32_t> homeless_rows() const override { return calls_.homeless_rows(); }

  // Bytes of expert weights that have been read so far: each expert once a call.
  size_t weight_bytes_read() const { return weight_bytes_read_; }

 private:
  router::ExpertCalls& calls_;
  const size_t expert_bytes_;
  const Observer observer_;
  std::vector<bool> seen_;  // [experts] of the call that is counted
  size_t weight_bytes_read_ = 0;
};

}  // namespace tessera::cli
