#pragma once

#include <vector>

#include "absl/time/time.h"
#include "common/metrics/metrics.h"
#include "services/router/tally/expert_tally.h"

namespace tessera::router {

// What Prometheus sees of a tally: bounded by layers x shards. Every (layer, expert) has a page of
// its own, see expert_metrics.h. Owned by whoever calls Refresh, one at a time.
class TallyMetrics {
 public:
  // Shards that have series of their own; those that are met later share shard="other", so that ids
  // that come and go do not add series for ever.
  static constexpr size_t kShardsMax = 64;
  // (layer, expert) units that are told by rank; which ones they are, /metrics/experts says.
  static constexpr size_t kRanksMax = 20;

  // Both are borrowed.
  TallyMetrics(Registry& registry, const ExpertTally& tally);

  // Brings the metrics up to date; to be called before they are read.
  void Refresh(absl::Duration now);

 private:
  struct Spread {
    Gauge mean_to_max;
    Gauge max_to_mean;
    Gauge jain_index;
    void Set(const Balance& balance);
  };
  struct ShardSeries {
    ShardId shard{};
    std::vector<Counter> pairs;      // [layers]
    std::vector<Counter> experts;    // [layers]
    ExpertTally::ShardCounts shown;  // what they have
  };
  Spread AddSpread(size_t layer, const char* over);
  void CountShards(const ExpertTally::Counts& totals);
  void RankUnits(std::vector<uint64_t> rows);  // [layers x experts], in any order

  Registry& registry_;
  const ExpertTally& tally_;
  std::vector<Spread> over_experts_;  // [layers]
  std::vector<Spread> over_shards_;   // [layers]
  Gauge experts_idle_;
  std::vector<Gauge> hot_units_;  // [ranks]
  std::vector<ShardSeries> shards_;
};

}  // namespace tessera::router
