#pragma once

// What a following router's own loads taught it that its leader does not tell yet. A router that
// misses an expert has a shard load it whoever leads; the shard's answer comes at once, the
// leader's placement with it a heartbeat later, and while the leader is gone not at all.

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "common/base/ids.h"
#include "common/wire/placement_wire.h"

namespace tessera::router {

// What one life of a shard holds, as it told itself.
struct HeldUnits {
  uint64_t incarnation = 0;
  uint64_t held_version = 0;  // rises whenever `units` change
  std::vector<wire::HeldUnit> units;
};

// Thread-compatible.
class PlacementOverlay {
 public:
  // Ignored if something newer of the same life is known: answers may overtake each other.
  void Learn(ShardId shard, HeldUnits held);

  // The leader's placement, in which ready shards hold what they last told. Of a shard the leader
  // tells as new or newer, tells another life of, or does not name, what was learnt is forgotten.
  // `told` itself if nothing differs, or if a shard told what no placement can have.
  std::shared_ptr<const wire::PublishedPlacement> Over(
      std::shared_ptr<const wire::PublishedPlacement> told);

 private:
  void Forget(const std::vector<wire::ShardDescriptor>& told);

  std::map<ShardId, HeldUnits> learnt_;
};

}  // namespace tessera::router
