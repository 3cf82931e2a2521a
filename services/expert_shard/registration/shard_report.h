#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/time/time.h"
#include "common/wire/placement_wire.h"

namespace tessera::expert_shard {

// How busy a shard is; rates are over the last second.
struct ShardLoad {
  double busy_ratio = 0;  // 0..1, share of time the compute threads had work
  absl::Duration queue_wait_median;
  uint32_t rows_queued = 0;
  uint64_t calls_total = 0;  // since start
  uint64_t rows_total = 0;
  uint64_t resident_bytes = 0;
};

// What a shard tells about itself at one moment.
struct ShardReport {
  wire::ShardState state = wire::ShardState::kLoading;
  uint64_t held_version = 0;  // > 0, rises when `held` changes
  std::vector<wire::HeldUnit> held;
  ShardLoad load;
};

// Thread-safe. `held` may be left empty if `with_held` is false.
using ReportSource = std::function<ShardReport(bool with_held)>;

}  // namespace tessera::expert_shard
