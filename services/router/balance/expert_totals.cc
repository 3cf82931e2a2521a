#include "services/router/balance/expert_totals.h"

#include <algorithm>

#include "common/base/check.h"

namespace tessera::router {
namespace {

void Subtract(const std::vector<uint64_t>& earlier, std::vector<uint64_t>& values) {
  if (earlier.empty()) return;
  TESSERA_CHECK(earlier.size() == values.size());
  for (size_t i = 0; i < values.size(); ++i) values[i] -= earlier[i];
}

}  // namespace

ExpertTotals ExpertTotals::Since(const ExpertTotals& earlier) const {
  ExpertTotals delta = *this;
  Subtract(earlier.rows, delta.rows);
  Subtract(earlier.touches, delta.touches);
  Subtract(earlier.steps, delta.steps);
  return delta;
}

bool ExpertTotals::empty() const {
  return std::ranges::all_of(steps, [](uint64_t count) { return count == 0; });
}

ExpertTotals TotalsOf(const ExpertTally& tally, size_t layer_count) {
  const size_t experts = tally.expert_count();
  const ExpertTally::StepCounts counts = tally.Steps();
  ExpertTotals totals{.shape = {layer_count, experts}};
  totals.rows.resize(layer_count * experts);
  totals.touches.resize(layer_count * experts);
  totals.steps.resize(layer_count);
  for (size_t i = 0; i < tally.layers().size(); ++i) {
    const size_t layer = ToIndex(tally.layers()[i]);
    TESSERA_CHECK(layer < layer_count);
    const auto from = static_cast<ptrdiff_t>(i * experts);
    const auto to = static_cast<ptrdiff_t>(layer * experts);
    const auto count = static_cast<ptrdiff_t>(experts);
    std::copy_n(counts.rows.begin() + from, count, totals.rows.begin() + to);
    std::copy_n(counts.touches.begin() + from, count, totals.touches.begin() + to);
    totals.steps[layer] = counts.steps[i];
  }
  return totals;
}

}  // namespace tessera::router
