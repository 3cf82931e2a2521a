#pragma once

// How much experts and shards work: protos/tessera/v1/observation.proto as plain structs.

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/ids.h"

namespace tessera::v1 {
class ExpertLoadReply;
}  // namespace tessera::v1

namespace tessera::wire {

// How a shard looks from a router; a worse one is greater.
enum class ShardCondition : uint8_t {
  kLive = 1,
  kLoading = 2,
  kDraining = 3,
  kUnreachable = 4,
  kLost = 5,
};
// "live", "loading", "draining", "unreachable", "lost".
std::string_view NameOf(ShardCondition condition);

struct LayerLoad {
  LayerIndex layer{};
  std::vector<uint64_t> rows;  // [expert_count]

  friend bool operator==(const LayerLoad&, const LayerLoad&) = default;
};

struct ShardActivity {
  ShardId shard{};
  ShardCondition condition = ShardCondition::kLive;
  float busy_ratio = 0;              // 0..1
  std::vector<uint64_t> layer_rows;  // [layers]: (row, expert) pairs

  friend bool operator==(const ShardActivity&, const ShardActivity&) = default;
};

// Since the router started, but for the sequences.
struct RouterActivity {
  uint64_t process_id = 0;  // of one run of one router
  uint64_t generation_tokens = 0;
  uint64_t prompt_tokens = 0;
  uint32_t sequences_running = 0;
  uint32_t sequences_waiting = 0;

  friend bool operator==(const RouterActivity&, const RouterActivity&) = default;
};

// The comments of the fields stand in the proto.
struct ExpertLoad {
  absl::Duration window;
  std::vector<LayerLoad> layers;      // ascending layer, all of one length
  std::vector<ShardActivity> shards;  // ascending shard
  // Ascending process_id. From a router: itself, or nobody if it is too old to tell.
  std::vector<RouterActivity> routers;

  friend bool operator==(const ExpertLoad&, const ExpertLoad&) = default;
};

// Of routers the message has room for one, the first.
void ToProto(const ExpertLoad& load, v1::ExpertLoadReply& message);
// kInvalidArgument: layers or shards that do not ascend, lists of differing lengths, an unknown
// condition.
absl::StatusOr<ExpertLoad> ToExpertLoad(const v1::ExpertLoadReply& message);

}  // namespace tessera::wire
