#include "services/router/balance/expert_counters.h"

#include "common/base/check.h"

namespace tessera::router {
namespace {

// There is one writer, so that no other increment can fall between the two.
void Increment(std::atomic<uint64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

std::vector<uint64_t> ReadAll(const std::vector<std::atomic<uint64_t>>& counters) {
  std::vector<uint64_t> values;
  values.reserve(counters.size());
  for (const auto& counter : counters) values.push_back(counter.load(std::memory_order_relaxed));
  return values;
}

void Subtract(const std::vector<uint64_t>& earlier, std::vector<uint64_t>& values) {
  if (earlier.empty()) return;
  TESSERA_CHECK(earlier.size() == values.size());
  for (size_t i = 0; i < values.size(); ++i) values[i] -= earlier[i];
}

void AddTo(const std::vector<uint64_t>& more, std::vector<uint64_t>& values) {
  if (values.empty()) values.resize(more.size());
  TESSERA_CHECK(more.size() == values.size());
  for (size_t i = 0; i < values.size(); ++i) values[i] += more[i];
}

}  // namespace

ExpertTotals ExpertTotals::Since(const ExpertTotals& earlier) const {
  ExpertTotals delta = *this;
  Subtract(earlier.rows, delta.rows);
  Subtract(earlier.touches, delta.touches);
  Subtract(earlier.steps, delta.steps);
  return delta;
}

void ExpertTotals::Add(const ExpertTotals& more) {
  shape = more.shape;
  AddTo(more.rows, rows);
  AddTo(more.touches, touches);
  AddTo(more.steps, steps);
}

ExpertCounters::ExpertCounters(const PlacementShape& shape)
    : shape_(shape),
      rows_(shape.layer_count * shape.expert_count),
      touches_(shape.layer_count * shape.expert_count),
      steps_(shape.layer_count),
      seen_in_(shape.expert_count) {}

void ExpertCounters::Count(LayerIndex layer, const RoutingView& routing) {
  if (ToIndex(layer) >= shape_.layer_count || routing.experts.empty()) return;
  ++count_;
  Increment(steps_[ToIndex(layer)]);
  const size_t first = ToIndex(layer) * shape_.expert_count;
  for (const uint32_t expert : routing.experts) {
    if (expert >= shape_.expert_count) continue;
    Increment(rows_[first + expert]);
    if (seen_in_[expert] == count_) continue;
    seen_in_[expert] = count_;
    Increment(touches_[first + expert]);
  }
}

ExpertTotals ExpertCounters::Read() const {
  return {shape_, ReadAll(rows_), ReadAll(touches_), ReadAll(steps_)};
}

}  // namespace tessera::router
