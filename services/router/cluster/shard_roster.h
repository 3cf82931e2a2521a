#pragma once

// How each shard looks to operators. Unlike the registry it remembers those that were lost, so that
// a hole in the cluster can be seen until it is filled.

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/wire/expert_load_wire.h"
#include "common/wire/placement_wire.h"

namespace tessera::router {

// One look at a shard that is there.
struct ShardSight {
  ShardId shard{};
  wire::ShardState state = wire::ShardState::kLoading;
  bool is_linked = false;  // this router has a connection to this life of it
  float busy_ratio = 0;
};

// Thread-compatible. `now` is Clock::Elapsed() and never goes back.
class ShardRoster {
 public:
  // A lost shard that does not come back is forgotten after so long. One that drained before it
  // went was meant to go, and is forgotten at once.
  static constexpr absl::Duration kMemory = absl::Hours(1);

  // All that are there now, ascending.
  void Update(std::span<const ShardSight> sights, absl::Duration now);
  // Ascending; layer_rows are empty.
  std::vector<wire::ShardActivity> Activities() const;

 private:
  struct Known {
    wire::ShardCondition condition = wire::ShardCondition::kLoading;
    float busy_ratio = 0;
    absl::Duration lost_at;
  };
  std::map<ShardId, Known> known_;
};

}  // namespace tessera::router
