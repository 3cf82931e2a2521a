#pragma once

// Placement and shard descriptors: protos/tessera/v1/placement.proto as plain structs.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/moe/placement.h"

namespace tessera::v1 {
class Placement;
class ShardDescriptor;
}  // namespace tessera::v1

namespace tessera::wire {

enum class ShardState : uint8_t { kLoading = 1, kReady = 2, kDraining = 3 };

// A (layer, expert) that a shard has in memory.
struct HeldUnit {
  LayerIndex layer{};
  ExpertId expert{};
  uint32_t slot = 0;
  uint64_t weights_version = 0;

  friend bool operator==(const HeldUnit&, const HeldUnit&) = default;
};

struct ShardDescriptor {
  ShardId shard{};
  uint64_t incarnation = 0;
  std::string grpc_address;
  std::string data_address;
  ShardState state = ShardState::kLoading;
  uint32_t slot_count = 0;
  std::vector<HeldUnit> held;
  uint64_t held_version = 0;  // rises when `held` changes; 0: not told
  std::string zone;
  uint32_t slots_spare = 0;  // the last so many slots: what is there was loaded on order
  bool burst = false;        // holds replicas only

  friend bool operator==(const ShardDescriptor&, const ShardDescriptor&) = default;
};

// A placement with what is needed to reach its shards.
struct PublishedPlacement {
  Placement placement;
  std::vector<ShardDescriptor> shards;  // ascending id; `held` empty; held_version 0 unless ready
};

// What a shard says it holds: kInvalidArgument if a unit or its slot is out of range, or named
// twice.
absl::Status CheckHeld(const ShardDescriptor& shard, const PlacementShape& shape);

// kInvalidArgument naming what is out of range, contradictory or missing.
absl::StatusOr<ShardDescriptor> ToShardDescriptor(const v1::ShardDescriptor& message);
void ToProto(const ShardDescriptor& shard, v1::ShardDescriptor& message);

// kInvalidArgument; also if a copy lies on a shard that is not described.
absl::StatusOr<PublishedPlacement> ToPublishedPlacement(const v1::Placement& message);
void ToProto(const PublishedPlacement& published, v1::Placement& message);

}  // namespace tessera::wire
