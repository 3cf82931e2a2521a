#include "services/router/balance/load_window.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "common/base/check.h"

namespace tessera::router {
namespace {

constexpr double kFloorShare = 0.02;

}  // namespace

LoadWindow::LoadWindow(const PlacementShape& shape, double window_steps)
    : shape_(shape),
      window_steps_(window_steps),
      rows_(shape.layer_count * shape.expert_count),
      touches_(shape.layer_count * shape.expert_count),
      steps_(shape.layer_count) {
  TESSERA_CHECK(window_steps > 0);
}

void LoadWindow::Add(const ExpertTotals& delta) {
  TESSERA_CHECK(delta.rows.size() == rows_.size() && delta.touches.size() == touches_.size() &&
                delta.steps.size() == steps_.size());
  for (size_t layer = 0; layer < shape_.layer_count; ++layer) {
    if (delta.steps[layer] == 0) continue;
    const auto steps = static_cast<double>(delta.steps[layer]);
    const double kept = std::exp(-steps / window_steps_);
    steps_[layer] = steps_[layer] * kept + steps;
    for (size_t e = 0; e < shape_.expert_count; ++e) {
      const size_t unit = layer * shape_.expert_count + e;
      rows_[unit] = rows_[unit] * kept + static_cast<double>(delta.rows[unit]);
      touches_[unit] = touches_[unit] * kept + static_cast<double>(delta.touches[unit]);
    }
  }
}

double LoadWindow::steps() const {
  double fewest = 0;
  for (const double steps : steps_) {
    if (steps > 0 && (fewest == 0 || steps < fewest)) fewest = steps;
  }
  return fewest;
}

std::vector<double> LoadWindow::UnitCosts(const CostModel& model,
                                          const std::vector<LayerIndex>& moe_layers) const {
  std::vector<double> costs(rows_.size());
  const bool unseen = steps() == 0;
  for (const LayerIndex layer : moe_layers) {
    const size_t first = ToIndex(layer) * shape_.expert_count;
    const std::span<double> of_layer = std::span(costs).subspan(first, shape_.expert_count);
    if (unseen) {
      std::fill(of_layer.begin(), of_layer.end(), 1.0);
      continue;
    }
    const double steps = steps_[ToIndex(layer)];
    if (steps == 0) continue;
    double total = 0;
    for (size_t e = 0; e < of_layer.size(); ++e) {
      of_layer[e] =
          (model.touch_us * touches_[first + e] + model.row_us * rows_[first + e]) / steps;
      total += of_layer[e];
    }
    const double floor = kFloorShare * total / static_cast<double>(of_layer.size());
    for (double& cost : of_layer) cost = std::max(cost, floor);
  }
  return costs;
}

}  // namespace tessera::router
