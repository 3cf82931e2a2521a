#pragma once

// What the gate chose, summed per (layer, expert), as routers tell each other.

#include <cstdint>
#include <vector>

#include "common/moe/placement.h"
#include "services/router/tally/expert_tally.h"

namespace tessera::router {

// Sums over steps. A unit's index is layer * expert_count + expert.
struct ExpertTotals {
  PlacementShape shape;
  std::vector<uint64_t> rows;     // [units] rows that went to the expert
  std::vector<uint64_t> touches;  // [units] steps in which any did: its weights were read
  std::vector<uint64_t> steps;    // [layer_count] steps that came through the layer

  // What was added since `earlier`, of the same shape; an empty `earlier` counts as zero.
  ExpertTotals Since(const ExpertTotals& earlier) const;
  // Whether any step is in it.
  bool empty() const;
};

// What `tally` counted since its start; layers it does not count have no steps.
ExpertTotals TotalsOf(const ExpertTally& tally, size_t layer_count);

}  // namespace tessera::router
