#pragma once

// Who holds which routed expert: one immutable map with an epoch.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/ids.h"

namespace tessera {

// One copy of a (layer, expert) unit. Copies with equal weights_version answer alike.
struct Replica {
  ShardId shard{};
  uint32_t slot = 0;  // where the shard keeps it
  uint64_t weights_version = 0;

  friend bool operator==(const Replica&, const Replica&) = default;
};

// A unit and one of its copies: what a placement is made of.
struct PlacedUnit {
  LayerIndex layer{};
  ExpertId expert{};
  Replica replica;
};

struct PlacementShape {
  size_t layer_count = 0;   // decoder layers, dense ones included (they hold nothing)
  size_t expert_count = 0;  // routed experts of a MoE layer
};

// Immutable after Build, so any thread may read it; shared as shared_ptr<const Placement>.
class Placement {
 public:
  static constexpr uint32_t kShardIdMax = 65535;  // tables are indexed by shard id

  // Holds nothing, epoch 0.
  Placement() = default;

  // `units` in any order. kInvalidArgument: a layer, expert or shard id out of range, one shard
  // twice for a unit, or one slot of a shard for two units.
  static absl::StatusOr<Placement> Build(Epoch epoch, const PlacementShape& shape,
                                         std::vector<PlacedUnit> units);

  Epoch epoch() const { return epoch_; }
  const PlacementShape& shape() const { return shape_; }
  // Ascending shard id; empty if nobody holds the unit or it is out of range.
  std::span<const Replica> replicas(LayerIndex layer, ExpertId expert) const;
  // Shards that hold something, ascending.
  std::span<const ShardId> shards() const { return shards_; }
  // 1 + the highest shard id, 0 if nobody holds anything: the size of a table by shard id.
  size_t shard_bound() const { return shards_.empty() ? 0 : ToIndex(shards_.back()) + 1; }
  // The fewest copies any expert of `layer` has.
  size_t CopiesMin(LayerIndex layer) const;
  // All copies, by layer, then expert, then shard.
  std::vector<PlacedUnit> Units() const;

 private:
  Epoch epoch_{};
  PlacementShape shape_;
  std::vector<uint32_t> first_;    // [layer_count * expert_count + 1] into replicas_
  std::vector<Replica> replicas_;  // grouped by unit
  std::vector<ShardId> shards_;
};

}  // namespace tessera
