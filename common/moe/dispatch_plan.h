#pragma once

// Which rows of a step go to which shard, in what order.
//
//   routing [rows, top_k] + placement --PlanDispatch--> per shard: each row once, pairs by expert
//
// Worked example: 3 rows, top-2; experts 0,1 live on shard 0 and experts 2,3 on shard 1.
//   row 0 -> {0,1}   row 1 -> {1,2}   row 2 -> {2,3}
//   shard 0: rows {0,1}; segments (e0: row 0) (e1: rows 0,1)
//   shard 1: rows {1,2}; segments (e2: rows 0,1) (e3: row 1)      rows count within the call

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "common/base/ids.h"
#include "common/moe/placement.h"
#include "common/moe/routing.h"

namespace tessera {

// One expert's part of a call: `pair_count` consecutive pairs.
struct PlanSegment {
  ExpertId expert{};
  uint32_t slot = 0;             // of the chosen replica
  uint64_t weights_version = 0;  // of the chosen replica
  uint32_t pair_count = 0;
};

// What one shard is to compute.
struct ShardPlan {
  ShardId shard{};
  std::vector<uint32_t> rows;         // rows of the step, ascending, each once
  std::vector<PlanSegment> segments;  // ascending expert id
  std::vector<uint32_t> pair_rows;    // [pairs] index into `rows`, ascending within a segment
  std::vector<float> pair_weights;    // [pairs]
};

struct DispatchPlan {
  std::vector<ShardPlan> shards;   // ascending shard id, none without rows
  std::vector<ExpertId> homeless;  // chosen experts no usable shard holds, ascending; their pairs
                                   // are nowhere: computing the rest would give a wrong sum
};

constexpr uint32_t kShardUnusable = std::numeric_limits<uint32_t>::max();

// How to choose among copies.
struct ReplicaChoice {
  // [shard id] rows sent and not yet answered; kShardUnusable: give it nothing. A shard beyond the
  // end has none outstanding.
  std::span<const uint32_t> outstanding_rows;
  // Draws the two copies that are compared where there are more, and breaks ties.
  uint64_t seed = 0;
  // [shard id] counts like rows of this step, for who was given more than others before; a shard
  // beyond the end was not.
  std::span<const uint32_t> ahead_rows = {};
  // What reading an expert's weights costs a shard: as much as so many rows of traffic or pairs to
  // compute. Only the order of costs matters.
  uint32_t expert_rows = 4;
};

// Result depends on the arguments only; memory of `plan` is reused. One expert goes to one shard in
// a call, so its weights are read once. Experts with a single usable copy are placed first; of two
// copies the one with less outstanding work wins, counting what this plan already gave it and the
// rows it would have to be sent in addition.
// Requires expert ids below placement.shape().expert_count.
void PlanDispatch(LayerIndex layer, const RoutingView& routing, const Placement& placement,
                  const ReplicaChoice& choice, DispatchPlan& plan);

// The same with tables that are kept from layer to layer: once they have grown, planning allocates
// nothing. Thread-compatible.
class DispatchPlanner {
 public:
  DispatchPlanner();
  ~DispatchPlanner();

  // As PlanDispatch.
  void Plan(LayerIndex layer, const RoutingView& routing, const Placement& placement,
            const ReplicaChoice& choice, DispatchPlan& plan);

 private:
  class Tables;
  const std::unique_ptr<Tables> tables_;
};

}  // namespace tessera
