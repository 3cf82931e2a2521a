#include "services/gateway/upstream/load_gathering.h"

#include <algorithm>
#include <utility>

#include "common/base/log.h"

namespace tessera::gateway {
namespace {

void AddRows(const std::vector<uint64_t>& other, std::vector<uint64_t>& sum) {
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
}

}  // namespace

bool AddExpertLoad(const wire::ExpertLoad& other, wire::ExpertLoad& sum) {
  const auto same_layer = [](const wire::LayerLoad& a, const wire::LayerLoad& b) {
    return a.layer == b.layer && a.rows.size() == b.rows.size();
  };
  if (!std::ranges::equal(other.layers, sum.layers, same_layer)) return false;
  for (size_t i = 0; i < sum.layers.size(); ++i) {
    AddRows(other.layers[i].rows, sum.layers[i].rows);
  }
  for (const wire::ShardActivity& shard : other.shards) {
    const auto place =
        std::ranges::lower_bound(sum.shards, shard.shard, {}, &wire::ShardActivity::shard);
    if (place == sum.shards.end() || place->shard != shard.shard) {
      sum.shards.insert(place, shard);
      continue;
    }
    place->condition = std::max(place->condition, shard.condition);
    place->busy_ratio = std::max(place->busy_ratio, shard.busy_ratio);
    AddRows(shard.layer_rows, place->layer_rows);
  }
  for (const wire::RouterActivity& router : other.routers) {
    const auto place = std::ranges::lower_bound(sum.routers, router.process_id, {},
                                                &wire::RouterActivity::process_id);
    // Twice under two addresses: one router.
    if (place != sum.routers.end() && place->process_id == router.process_id) continue;
    sum.routers.insert(place, router);
  }
  return true;
}

void LoadGathering::Add(absl::StatusOr<wire::ExpertLoad> answer) {
  absl::StatusOr<wire::ExpertLoad> whole;
  {
    absl::MutexLock lock(&mutex_);
    if (!answer.ok()) {
      error_ = answer.status();
    } else if (!sum_) {
      sum_ = *std::move(answer);
    } else if (!AddExpertLoad(*answer, *sum_)) {
      TESSERA_LOG(WARNING) << "two routers serve different models; the load shows one of them";
    }
    if (--missing_ > 0) return;
    if (sum_) {
      whole = *std::move(sum_);
    } else {
      whole = error_;
    }
  }
  done_(std::move(whole));
}

}  // namespace tessera::gateway
