#pragma once

// What each shard was given of late, layer by layer, so that the choice among copies evens it out.
//
// A call gives an expert whole to one of its copies, the one with less to do in that step. Over
// many steps that alone does not share an expert's work out as the balancer's plan counts on: a
// shard whose own experts are a little hotter than others' is a little ahead in most steps and
// keeps half of what it shares in the rest. What it is ahead in the long run therefore counts as
// well, but no more than a few rows, so that what a step waits for hardly changes.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/base/ids.h"
#include "common/moe/dispatch_plan.h"
#include "services/router/balance/cost_model.h"
#include "services/router/tally/answered_call.h"

namespace tessera::router {

// Thread-compatible.
class FairShares {
 public:
  // For the next step of a layer; what was noted before fades. Valid until the next call; borrows
  // `outstanding_rows`.
  ReplicaChoice Choice(LayerIndex layer, std::span<const uint32_t> outstanding_rows, uint64_t seed);
  // What came of it.
  void Note(const AnsweredCall& call);

  // What an expert costs a shard beside a row, as answers tell. To be called once a step; asks
  // `fit` now and then.
  void Learn(const CostFit& fit);
  void SetCosts(const CostModel& costs);

 private:
  // A layer's of so many shards or more.
  std::vector<float>& GivenOf(LayerIndex layer, size_t shards);

  std::vector<std::vector<float>> given_;  // [layer index][shard id]: rows, fading
  std::vector<uint32_t> ahead_;            // [shard id] scratch of Choice
  uint32_t expert_rows_ = ReplicaChoice().expert_rows;
  uint32_t steps_ = 0;
};

}  // namespace tessera::router
