#include "services/router/tally/tally_metrics.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tessera::router {

void TallyMetrics::Spread::Set(const Balance& balance) {
  mean_to_max.Set(balance.mean_to_max);
  max_to_mean.Set(balance.max_to_mean);
  jain_index.Set(balance.jain_index);
}

TallyMetrics::Spread TallyMetrics::AddSpread(size_t layer, const char* over) {
  const Registry::Labels labels = {{"layer", absl::StrCat(layer)}, {"over", over}};
  Spread spread;
  spread.mean_to_max = registry_.AddGauge(
      "tessera_router_layer_balance_ratio",
      "Rows of the last ten seconds, mean over largest: 1 is even, 0 is one for all.", labels);
  spread.max_to_mean =
      registry_.AddGauge("tessera_router_layer_imbalance_ratio",
                         "Rows of the last ten seconds, largest over mean: 1 is even.", labels);
  spread.jain_index = registry_.AddGauge("tessera_router_layer_jain_index_ratio",
                                         "Rows of the last ten seconds, Jain's index: the share of "
                                         "members that would do if all worked "
                                         "alike.",
                                         labels);
  return spread;
}

TallyMetrics::TallyMetrics(Registry& registry, const ExpertTally& tally)
    : registry_(registry),
      tally_(tally),
      experts_idle_(registry.AddGauge("tessera_router_experts_idle",
                                      "(layer, expert) units without a row in the last ten "
                                      "seconds.")) {
  for (const LayerIndex layer : tally.layers()) {
    over_experts_.push_back(AddSpread(ToIndex(layer), "expert"));
    over_shards_.push_back(AddSpread(ToIndex(layer), "shard"));
  }
  const size_t units = tally.layers().size() * tally.expert_count();
  for (size_t rank = 1; rank <= std::min(kRanksMax, units); ++rank) {
    hot_units_.push_back(registry.AddGauge(
        "tessera_router_hot_unit_ratio",
        "Rows of the last ten seconds of the (layer, expert) unit with the most, the second most "
        "and so on, over the mean of all units.",
        {{"rank", absl::StrCat(rank)}}));
  }
}

void TallyMetrics::Refresh(absl::Duration now) {
  CountShards(tally_.Totals());
  ExpertTally::Counts window = tally_.Window(now);
  experts_idle_.Set(static_cast<double>(std::ranges::count(window.rows, 0u)));
  const std::span<const uint64_t> rows = window.rows;
  std::vector<uint64_t> of_shards(window.shards.size());
  for (size_t layer = 0; layer < over_experts_.size(); ++layer) {
    const size_t experts = tally_.expert_count();
    over_experts_[layer].Set(BalanceOf(rows.subspan(layer * experts, experts)));
    for (size_t shard = 0; shard < of_shards.size(); ++shard) {
      of_shards[shard] = window.shards[shard].layer_rows[layer];
    }
    over_shards_[layer].Set(BalanceOf(of_shards));
  }
  RankUnits(std::move(window.rows));
}

void TallyMetrics::RankUnits(std::vector<uint64_t> rows) {
  const uint64_t total = std::accumulate(rows.begin(), rows.end(), uint64_t{0});
  const auto ranks = static_cast<ptrdiff_t>(hot_units_.size());
  std::ranges::partial_sort(rows, rows.begin() + ranks, std::greater());
  const double mean = static_cast<double>(total) / static_cast<double>(rows.size());
  for (size_t rank = 0; rank < hot_units_.size(); ++rank) {
    hot_units_[rank].Set(total == 0 ? 0.0 : static_cast<double>(rows[rank]) / mean);
  }
}

void TallyMetrics::CountShards(const ExpertTally::Counts& totals) {
  for (const ExpertTally::ShardCounts& counts : totals.shards) {
    auto series = std::ranges::find(shards_, counts.shard, &ShardSeries::shard);
    if (series == shards_.end()) {
      const std::string label =
          shards_.size() < kShardsMax ? absl::StrCat(ToIndex(counts.shard)) : "other";
      ShardSeries made{.shard = counts.shard, .pairs = {}, .experts = {}, .shown = {}};
      for (const LayerIndex layer : tally_.layers()) {
        made.pairs.push_back(registry_.AddCounter(
            "tessera_router_layer_shard_pairs_total",
            "(row, expert) pairs a shard answered, by layer, in committed steps.",
            {{"layer", absl::StrCat(ToIndex(layer))}, {"shard", label}}));
        made.experts.push_back(registry_.AddCounter(
            "tessera_router_layer_shard_experts_total",
            "Different experts of the calls a shard answered, by layer, in committed steps.",
            {{"layer", absl::StrCat(ToIndex(layer))}, {"shard", label}}));
      }
      made.shown.layer_rows.resize(made.pairs.size());
      made.shown.layer_experts.resize(made.pairs.size());
      series = shards_.insert(shards_.end(), std::move(made));
    }
    const ExpertTally::ShardCounts before = std::exchange(series->shown, counts);
    for (size_t layer = 0; layer < counts.layer_rows.size(); ++layer) {
      const auto more = [layer](const std::vector<uint64_t>& now,
                                const std::vector<uint64_t>& then) {
        return static_cast<double>(now[layer] - then[layer]);
      };
      series->pairs[layer].Increment(more(counts.layer_rows, before.layer_rows));
      series->experts[layer].Increment(more(counts.layer_experts, before.layer_experts));
    }
  }
}

}  // namespace tessera::router
