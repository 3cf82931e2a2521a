#include "services/router/cluster/placement_overlay.h"

#include <algorithm>
#include <utility>

#include "common/base/log.h"
#include "common/moe/placement.h"

namespace tessera::router {

void PlacementOverlay::Learn(ShardId shard, HeldUnits held) {
  HeldUnits& known = learnt_[shard];
  if (known.incarnation == held.incarnation && known.held_version > held.held_version) return;
  known = std::move(held);
}

void PlacementOverlay::Forget(const std::vector<wire::ShardDescriptor>& told) {
  std::erase_if(learnt_, [&](const auto& entry) {
    const auto& [id, held] = entry;
    const auto shard = std::ranges::find(told, id, &wire::ShardDescriptor::shard);
    return shard == told.end() || shard->incarnation != held.incarnation ||
           shard->held_version >= held.held_version;
  });
}

std::shared_ptr<const wire::PublishedPlacement> PlacementOverlay::Over(
    std::shared_ptr<const wire::PublishedPlacement> told) {
  Forget(told->shards);
  wire::PublishedPlacement next{.placement = {}, .shards = told->shards};
  std::vector<PlacedUnit> units;
  bool differs = false;
  for (wire::ShardDescriptor& shard : next.shards) {
    const auto it = learnt_.find(shard.shard);
    if (it == learnt_.end() || shard.state != wire::ShardState::kReady) continue;
    differs = true;
    shard.held_version = it->second.held_version;
    for (const wire::HeldUnit& unit : it->second.units) {
      units.push_back({unit.layer, unit.expert, {shard.shard, unit.slot, unit.weights_version}});
    }
  }
  if (!differs) return told;
  for (const PlacedUnit& unit : told->placement.Units()) {  // of ready shards, as placements are
    if (!learnt_.contains(unit.replica.shard)) units.push_back(unit);
  }
  auto built = Placement::Build(told->placement.epoch(), told->placement.shape(), std::move(units));
  if (!built.ok()) {
    TESSERA_LOG(WARNING) << "a shard told impossible units: " << built.status().message();
    return told;
  }
  next.placement = *std::move(built);
  return std::make_shared<const wire::PublishedPlacement>(std::move(next));
}

}  // namespace tessera::router
