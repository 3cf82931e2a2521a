#include "services/router/balance/shard_counters.h"

#include <algorithm>

namespace tessera::router {
namespace {

// There is one writer.
template <typename T>
void AddTo(std::atomic<T>& counter, T more) {
  counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

template <typename T>
std::vector<T> ReadAll(const std::vector<std::atomic<T>>& counters) {
  std::vector<T> values;
  values.reserve(counters.size());
  for (const auto& counter : counters) values.push_back(counter.load(std::memory_order_relaxed));
  return values;
}

template <typename T>
void Subtract(const std::vector<T>& earlier, std::vector<T>& values) {
  for (size_t i = 0; i < std::min(earlier.size(), values.size()); ++i) values[i] -= earlier[i];
}

}  // namespace

ShardTotals ShardTotals::Since(const ShardTotals& earlier) const {
  ShardTotals delta = *this;
  Subtract(earlier.pairs, delta.pairs);
  Subtract(earlier.steps, delta.steps);
  Subtract(earlier.step_sums, delta.step_sums);
  return delta;
}

MeasuredBalance BalanceOf(const ShardTotals& totals, size_t shard_count) {
  MeasuredBalance balance;
  size_t layers = 0;
  double windows = 0;
  double steps = 0;
  for (size_t layer = 0; layer < totals.layer_count; ++layer) {
    if (totals.steps[layer] == 0) continue;
    uint64_t sum = 0;
    uint64_t most = 0;
    for (size_t s = 0; s < ShardCounters::kShardsMax; ++s) {
      const uint64_t pairs = totals.pairs[layer * ShardCounters::kShardsMax + s];
      sum += pairs;
      most = std::max(most, pairs);
    }
    if (most == 0) continue;
    ++layers;
    windows += static_cast<double>(sum) / static_cast<double>(most * shard_count);
    steps += totals.step_sums[layer] / static_cast<double>(totals.steps[layer]);
    balance.steps = std::max(balance.steps, totals.steps[layer]);
  }
  if (layers == 0 || shard_count == 0) return {};
  balance.window = windows / static_cast<double>(layers);
  balance.step = steps / static_cast<double>(layers);
  return balance;
}

ShardCounters::ShardCounters(size_t layer_count)
    : layer_count_(layer_count),
      pairs_(layer_count * kShardsMax),
      steps_(layer_count),
      step_sums_(layer_count) {}

size_t ShardCounters::PlaceOf(ShardId shard) {
  const size_t id = ToIndex(shard);
  if (id >= places_.size()) places_.resize(id + 1);
  if (places_[id] == 0) places_[id] = 1 + met_++ % kShardsMax;
  return places_[id] - 1;
}

void ShardCounters::Count(LayerIndex layer, const DispatchPlan& plan, size_t shard_count) {
  if (ToIndex(layer) >= layer_count_ || shard_count == 0) return;
  size_t sum = 0;
  size_t most = 0;
  for (const ShardPlan& shard : plan.shards) {
    sum += shard.pair_rows.size();
    most = std::max(most, shard.pair_rows.size());
    AddTo<uint64_t>(pairs_[ToIndex(layer) * kShardsMax + PlaceOf(shard.shard)],
                    shard.pair_rows.size());
  }
  if (most == 0) return;
  AddTo<uint64_t>(steps_[ToIndex(layer)], 1);
  AddTo(step_sums_[ToIndex(layer)],
        static_cast<double>(sum) / static_cast<double>(most * shard_count));
}

ShardTotals ShardCounters::Read() const {
  return {layer_count_, ReadAll(pairs_), ReadAll(steps_), ReadAll(step_sums_)};
}

}  // namespace tessera::router
