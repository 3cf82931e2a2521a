#pragma once

// What the gate chose, counted per (layer, expert) since the start of the process.

#include <atomic>
#include <cstdint>
#include <vector>

#include "common/base/ids.h"
#include "common/moe/placement.h"
#include "common/moe/routing.h"

namespace tessera::router {

// Sums over steps. A unit's index is layer * expert_count + expert.
struct ExpertTotals {
  PlacementShape shape;
  std::vector<uint64_t> rows;     // [units] rows that went to the expert
  std::vector<uint64_t> touches;  // [units] steps in which any did: its weights were read
  std::vector<uint64_t> steps;    // [layer_count] steps that came through the layer

  // What was added since `earlier`, of the same shape; an empty `earlier` counts as zero.
  ExpertTotals Since(const ExpertTotals& earlier) const;
  // Adds numbers of the same shape.
  void Add(const ExpertTotals& more);
};

// Written by the engine thread, read by any.
class ExpertCounters {
 public:
  explicit ExpertCounters(const PlacementShape& shape);

  // One layer of one step; engine thread only. What is out of range is not counted.
  void Count(LayerIndex layer, const RoutingView& routing);
  // A step that runs meanwhile may be in it in part.
  ExpertTotals Read() const;
  const PlacementShape& shape() const { return shape_; }

 private:
  const PlacementShape shape_;  // constant after construction
  std::vector<std::atomic<uint64_t>> rows_;
  std::vector<std::atomic<uint64_t>> touches_;
  std::vector<std::atomic<uint64_t>> steps_;
  std::vector<uint64_t> seen_in_;  // [expert_count] the Count that met the expert last; engine's
  uint64_t count_ = 0;             // of Count; engine's
};

}  // namespace tessera::router
