#pragma once

// What a following router's own loads taught it that its leader does not tell yet. A router that
// misses an expert has a shard load it whoever leads; the shard's answer comes at once, the
// leader's placement with it a heartbeat later, and while the leader is gone not at all.

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "common/base/ids.h"
#include "common/wire/placement_wire.h"

namespace tessera::router {

// Thread-compatible.
class PlacementOverlay {
 public:
  // What `shard` holds, as it answered an order.
  //   kNotFound         this life of it is not in the leader's placement `told`
  //   kInvalidArgument  units or slots out of range, or named twice
  // After an error nothing has changed.
  absl::Status Learn(const wire::PublishedPlacement& told, ShardId shard, uint64_t incarnation,
                     uint64_t held_version, std::vector<wire::HeldUnit> held);

  // The leader's placement, in which shards hold what was learnt of them: all of it, so also a copy
  // that the leader hides until it is dropped, which makes a newer version. What was learnt of a
  // shard is forgotten once the leader tells the same version or a later one, no version, another
  // life, that it is not ready, or does not name it: then the shard tells it everything anew.
  // `told` itself if nothing is left.
  std::shared_ptr<const wire::PublishedPlacement> Apply(
      std::shared_ptr<const wire::PublishedPlacement> told);

 private:
  void Forget(const std::vector<wire::ShardDescriptor>& told);

  std::map<ShardId, wire::ShardDescriptor> learnt_;
};

}  // namespace tessera::router
