#include "services/router/cluster/placement_overlay.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"
#include "common/moe/placement.h"

namespace tessera::router {

absl::Status PlacementOverlay::Learn(const wire::PublishedPlacement& told, ShardId shard,
                                     uint64_t incarnation, uint64_t held_version,
                                     std::vector<wire::HeldUnit> held) {
  const auto it = std::ranges::find(told.shards, shard, &wire::ShardDescriptor::shard);
  if (it == told.shards.end() || it->incarnation != incarnation) {
    return absl::NotFoundError(absl::StrCat("shard ", ToIndex(shard), ", incarnation ", incarnation,
                                            ", left the leader's placement"));
  }
  wire::ShardDescriptor learnt = *it;
  learnt.held_version = held_version;
  learnt.held = std::move(held);
  TESSERA_RETURN_IF_ERROR(wire::CheckHeld(learnt, told.placement.shape()));
  learnt_[shard] = std::move(learnt);
  return absl::OkStatus();
}

void PlacementOverlay::Forget(const std::vector<wire::ShardDescriptor>& told) {
  std::erase_if(learnt_, [&](const auto& entry) {
    const auto& [id, learnt] = entry;
    const auto shard = std::ranges::find(told, id, &wire::ShardDescriptor::shard);
    return shard == told.end() || shard->incarnation != learnt.incarnation ||
           shard->state != wire::ShardState::kReady || shard->held_version == 0 ||
           shard->held_version >= learnt.held_version;
  });
}

std::shared_ptr<const wire::PublishedPlacement> PlacementOverlay::Apply(
    std::shared_ptr<const wire::PublishedPlacement> told) {
  Forget(told->shards);
  if (learnt_.empty()) return told;
  wire::PublishedPlacement next{.placement = {}, .shards = told->shards};
  std::vector<PlacedUnit> units;
  for (const PlacedUnit& unit : told->placement.Units()) {
    if (!learnt_.contains(unit.replica.shard)) units.push_back(unit);
  }
  for (wire::ShardDescriptor& shard : next.shards) {
    const auto it = learnt_.find(shard.shard);
    if (it == learnt_.end()) continue;
    shard.held_version = it->second.held_version;
    for (const wire::HeldUnit& held : it->second.held) {
      units.push_back({held.layer, held.expert, {shard.shard, held.slot, held.weights_version}});
    }
  }
  auto built = Placement::Build(told->placement.epoch(), told->placement.shape(), std::move(units));
  TESSERA_CHECK(built.ok());  // Learn saw every shard's units
  next.placement = *std::move(built);
  return std::make_shared<const wire::PublishedPlacement>(std::move(next));
}

}  // namespace tessera::router
