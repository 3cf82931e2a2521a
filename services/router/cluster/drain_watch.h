#pragma once

// How the wishes of shards to leave end. A shard that asks to be drained stays until others hold
// what it alone holds; one whose time is over before goes all the same, and takes experts out of
// the map that nobody else has.

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/wire/placement_wire.h"

namespace tessera::router {

// Thread-compatible. `now` is Clock::Elapsed().
class DrainWatch {
 public:
  // A wish that is not repeated for longer than `memory` was given up.
  explicit DrainWatch(absl::Duration memory) : memory_(memory) {}

  // It asks to be drained, once or again.
  void Asked(ShardId shard, uint64_t incarnation, absl::Duration now);
  // A wish that is known and not told yet is still being worked on.
  void StillAsked(ShardId shard, uint64_t incarnation, absl::Duration now);
  // It is out of the map, and others hold what it held.
  void Released(ShardId shard, uint64_t incarnation);
  // Shards that went, or said themselves that they do, before they were released; each is told
  // once. `find`: a living shard as the registry has it, draining if it said so; or null.
  using Find = std::function<const wire::ShardDescriptor*(ShardId)>;
  std::vector<ShardId> TakeUnfinished(const Find& find, absl::Duration now);

 private:
  struct Wish {
    uint64_t incarnation = 0;
    absl::Duration asked_at;
    bool released = false;
  };
  const absl::Duration memory_;
  std::map<ShardId, Wish> wishes_;
};

}  // namespace tessera::router
