#include "services/router/cluster/shard_roster.h"

#include <algorithm>

namespace tessera::router {
namespace {

wire::ShardCondition ConditionOf(const ShardSight& sight) {
  switch (sight.state) {
    case wire::ShardState::kLoading:
      return wire::ShardCondition::kLoading;
    case wire::ShardState::kDraining:
      return wire::ShardCondition::kDraining;
    case wire::ShardState::kReady:
      break;
  }
  return sight.is_linked ? wire::ShardCondition::kLive : wire::ShardCondition::kUnreachable;
}

}  // namespace

void ShardRoster::Update(std::span<const ShardSight> sights, absl::Duration now) {
  for (auto it = known_.begin(); it != known_.end();) {
    Known& known = it->second;
    const bool there = std::ranges::any_of(
        sights, [&](const ShardSight& sight) { return sight.shard == it->first; });
    const bool lost = known.condition == wire::ShardCondition::kLost;
    const bool left = !there && known.condition == wire::ShardCondition::kDraining;
    if (left || (!there && lost && now - known.lost_at >= kMemory)) {
      it = known_.erase(it);
      continue;
    }
    if (!there && !lost) known = {wire::ShardCondition::kLost, 0, now};
    ++it;
  }
  for (const ShardSight& sight : sights) {
    known_[sight.shard] = {ConditionOf(sight), sight.busy_ratio, absl::ZeroDuration()};
  }
}

std::vector<wire::ShardActivity> ShardRoster::Activities() const {
  std::vector<wire::ShardActivity> activities;
  for (const auto& [shard, known] : known_) {
    activities.push_back({shard, known.condition, known.busy_ratio, {}});
  }
  return activities;
}

}  // namespace tessera::router
