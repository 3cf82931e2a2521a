#include "services/router/balance/measured_balance.h"

#include <algorithm>
#include <utility>

namespace tessera::router {
namespace {

// What of `now`'s pairs of one layer was answered since `from`: their sum and the largest of a
// shard.
std::pair<uint64_t, uint64_t> SumAndMost(const ExpertTally::Spread& now,
                                         const ExpertTally::Spread& from, size_t layer) {
  uint64_t sum = 0;
  uint64_t most = 0;
  for (const ExpertTally::ShardCounts& shard : now.shards) {
    const auto before =
        std::ranges::find(from.shards, shard.shard, &ExpertTally::ShardCounts::shard);
    const uint64_t pairs =
        shard.layer_rows[layer] - (before == from.shards.end() ? 0 : before->layer_rows[layer]);
    sum += pairs;
    most = std::max(most, pairs);
  }
  return {sum, most};
}

}  // namespace

void BalanceGauge::Look(const ExpertTally& tally, size_t shard_count) {
  ExpertTally::Spread now = tally.ReadSpread();
  if (from_.steps.empty()) {
    from_.steps.resize(now.steps.size());
    from_.step_balances.resize(now.steps.size());
  }
  MeasuredBalance measured{.window = 0, .step = 0};
  size_t layers = 0;
  for (size_t layer = 0; layer < now.steps.size(); ++layer) {
    const uint64_t steps = now.steps[layer] - from_.steps[layer];
    const auto [sum, most] = SumAndMost(now, from_, layer);
    if (steps == 0 || most == 0 || shard_count == 0) continue;
    ++layers;
    measured.steps = std::max(measured.steps, steps);
    measured.window += static_cast<double>(sum) / static_cast<double>(most * shard_count);
    measured.step +=
        (now.step_balances[layer] - from_.step_balances[layer]) / static_cast<double>(steps);
  }
  if (layers == 0 || measured.steps < steps_min_) return;
  measured.window /= static_cast<double>(layers);
  measured.step /= static_cast<double>(layers);
  last_ = measured;
  from_ = std::move(now);
}

}  // namespace tessera::router
