#pragma once

// Recent load of every (layer, expert): counters that fade with the steps that pass.

#include <vector>

#include "common/moe/placement.h"
#include "services/router/balance/cost_model.h"
#include "services/router/balance/expert_totals.h"

namespace tessera::router {

// Thread-compatible.
class LoadWindow {
 public:
  // After `window_steps` more steps through a layer its older numbers weigh 1/e; > 0.
  LoadWindow(const PlacementShape& shape, double window_steps);

  // What one router counted since its last report. Another shape is a bug.
  void Add(const ExpertTotals& delta);

  // Weighted steps of the layer that has seen the fewest, of those in use; how much is known.
  double steps() const;
  // Cost of every unit per step, in the model's microseconds: [layer_count * expert_count].
  //   cost = alpha * touches + beta * rows
  // A unit nobody asked for costs a fiftieth of its layer's average: it may be asked for next.
  // Layers never seen cost nothing, unless none was: then all units of `moe_layers` cost the same.
  std::vector<double> UnitCosts(const CostModel& model,
                                const std::vector<LayerIndex>& moe_layers) const;
  // Faded rows: [layer_count * expert_count].
  const std::vector<double>& rows() const { return rows_; }
  const PlacementShape& shape() const { return shape_; }

 private:
  const PlacementShape shape_;  // constant after construction
  const double window_steps_;
  std::vector<double> rows_;
  std::vector<double> touches_;
  std::vector<double> steps_;  // [layer_count]
};

}  // namespace tessera::router
