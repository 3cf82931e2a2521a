#pragma once

// How evenly the work of each layer was spread over the shards, as it happened.

#include <cstdint>

#include "services/router/tally/expert_tally.h"

namespace tessera::router {

// Mean over maximum of the (row, expert) pairs the shards answered in a layer, averaged over layers
// that saw any; 1 is perfect, and what is said without work.
struct MeasuredBalance {
  double window = 1;   // of the sums of all steps: what shards are busy with in the long run
  double step = 1;     // average over steps: what each step waits for
  uint64_t steps = 0;  // that it is about
};

// Measures again and again, each time what was counted since the last time. Thread-compatible.
class BalanceGauge {
 public:
  // Each measure is about `steps_min` steps or more.
  explicit BalanceGauge(uint64_t steps_min) : steps_min_(steps_min) {}

  // To be called now and then; measures once enough steps have passed. `shard_count`: over how many
  // shards the sums spread.
  void Look(const ExpertTally& tally, size_t shard_count);
  const MeasuredBalance& last() const { return last_; }

 private:
  const uint64_t steps_min_;  // constant after construction
  ExpertTally::Spread from_;  // where the measure under way began
  MeasuredBalance last_;
};

}  // namespace tessera::router
