#pragma once

// Where the shards are: the one thing dispatch asks of the rest of the cluster.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "common/moe/placement.h"
#include "common/transport/exchange.h"
#include "common/wire/expert_wire.h"

namespace tessera::router {

// One shard as it can be reached now.
struct ShardLink {
  ShardId shard{};
  uint64_t incarnation = 0;
  PeerId peer{};                 // of the router's ExchangeClient
  wire::FrameGeometry geometry;  // what a call to it may be; rows_max is the shard's
};

// Placement and links of one moment. A shard that holds a copy but has no link is not usable now.
struct ClusterView {
  uint64_t version = 0;  // rises with every change of the placement or of a link
  Placement placement;
  std::vector<std::optional<ShardLink>> links;  // [shard id]; may be shorter than the placement

  const ShardLink* LinkOf(ShardId shard) const {
    const size_t index = ToIndex(shard);
    return index < links.size() && links[index].has_value() ? &*links[index] : nullptr;
  }
};

// Thread-safe; no call blocks. After each new view the implementation interrupts the
// ExchangeClient, so that a dispatcher that waits looks again.
class ShardDirectory {
 public:
  virtual ~ShardDirectory() = default;

  // Never null.
  virtual std::shared_ptr<const ClusterView> View() const = 0;
  // The exchange lost this peer, or found it hung: its link leaves the view at once; the cluster
  // connects again by itself.
  virtual void ReportDown(PeerId peer, const absl::Status& why) = 0;
  // A step waits for these experts and no shard that answers holds them: have another one load
  // them. Copies on the shards `unfit` do not help: they are late, or their breaker is open. Asking
  // again for what is on its way changes nothing.
  virtual void RequestUnits(LayerIndex layer, std::span<const ExpertId> experts,
                            std::span<const ShardId> unfit) = 0;
};

}  // namespace tessera::router
