#pragma once

// What one router learns about experts while it works: how often they are chosen, what they cost.

#include <memory>

#include "services/router/balance/cost_model.h"
#include "services/router/balance/expert_counters.h"
#include "services/router/balance/routing_trace.h"
#include "services/router/balance/shard_counters.h"

namespace tessera::router {

// Written by the engine thread, read by any.
struct ExpertMeter {
  explicit ExpertMeter(const PlacementShape& shape) : experts(shape), shards(shape.layer_count) {}

  ExpertCounters experts;
  ShardCounters shards;
  CostFit costs;
  std::unique_ptr<RoutingRecorder>
      recorder;  // null: nothing is recorded; set before the first step
};

}  // namespace tessera::router
