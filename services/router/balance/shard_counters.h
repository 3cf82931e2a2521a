#pragma once

// How evenly the work of each layer was spread over the shards, as it happened.

#include <atomic>
#include <cstdint>
#include <vector>

#include "common/base/ids.h"
#include "common/moe/dispatch_plan.h"

namespace tessera::router {

// Sums over steps since the start.
struct ShardTotals {
  size_t layer_count = 0;
  std::vector<uint64_t> pairs;    // [layer_count * kShardsMax] (row, expert) pairs, by place
  std::vector<uint64_t> steps;    // [layer_count]
  std::vector<double> step_sums;  // [layer_count] of mean / maximum of each step

  ShardTotals Since(const ShardTotals& earlier) const;
};

// Mean over maximum of what the shards got in one layer, averaged over layers that saw any.
struct MeasuredBalance {
  double window = 1;  // of the sums of all steps: what shards are busy with in the long run
  double step = 1;    // average over steps: what each step waits for
  uint64_t steps = 0;
};
MeasuredBalance BalanceOf(const ShardTotals& totals, size_t shard_count);

// Written by the engine thread, read by any. Each shard gets a place when it is met first; from the
// kShardsMax-th on they share places.
class ShardCounters {
 public:
  static constexpr size_t kShardsMax = 256;

  explicit ShardCounters(size_t layer_count);

  // One layer of one step as it was planned, over `shard_count` shards that could have been given
  // some; engine thread only.
  void Count(LayerIndex layer, const DispatchPlan& plan, size_t shard_count);
  ShardTotals Read() const;

 private:
  size_t PlaceOf(ShardId shard);

  const size_t layer_count_;      // constant after construction
  std::vector<uint32_t> places_;  // [shard id] 1 + place, 0: not met; the engine's
  uint32_t met_ = 0;              // the engine's
  std::vector<std::atomic<uint64_t>> pairs_;
  std::vector<std::atomic<uint64_t>> steps_;
  std::vector<std::atomic<double>> step_sums_;
};

}  // namespace tessera::router
