#include "services/router/cluster/shard_registry.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"

namespace tessera::router {
namespace {

std::string NameOf(ShardId shard, uint64_t incarnation) {
  return absl::StrCat("shard ", ToIndex(shard), " of incarnation ", incarnation);
}

bool SamePlacedUnit(const PlacedUnit& a, const PlacedUnit& b) {
  return a.layer == b.layer && a.expert == b.expert && a.replica == b.replica;
}

bool SameMap(const wire::PublishedPlacement& a, const wire::PublishedPlacement& b) {
  if (a.shards != b.shards) return false;
  const std::vector<PlacedUnit> mine = a.placement.Units();
  const std::vector<PlacedUnit> theirs = b.placement.Units();
  return std::equal(mine.begin(), mine.end(), theirs.begin(), theirs.end(), SamePlacedUnit);
}

}  // namespace

ShardRegistry::ShardRegistry(ShardRegistryConfig config) : config_(std::move(config)) {
  TESSERA_CHECK(config_.epoch_first > 0);
  TESSERA_CHECK(config_.model.layer_count > 0 && config_.model.expert_count > 0);
  Publish();
}

absl::Status ShardRegistry::CheckHeld(const wire::ShardDescriptor& shard) const {
  return wire::CheckHeld(shard, {config_.model.layer_count, config_.model.expert_count});
}

absl::Status ShardRegistry::CheckDescriptor(const wire::ShardDescriptor& shard) const {
  const std::string name = absl::StrCat("shard ", ToIndex(shard.shard));
  if (ToIndex(shard.shard) > Placement::kShardIdMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": shard_id is beyond ", Placement::kShardIdMax));
  }
  if (shard.incarnation == 0) {
    return absl::InvalidArgumentError(absl::StrCat(name, " has no incarnation, expected > 0"));
  }
  if (shard.grpc_address.empty() || shard.data_address.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " needs a grpc_address and a data_address, has \"", shard.grpc_address,
                     "\" and \"", shard.data_address, "\""));
  }
  if (shard.slot_count > config_.slots_max) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, " has ", shard.slot_count, " slots, at most ", config_.slots_max, " are possible"));
  }
  return CheckHeld(shard);
}

absl::StatusOr<Epoch> ShardRegistry::Register(const wire::ModelIdentity& model,
                                              wire::ShardDescriptor shard, absl::Duration now,
                                              uint64_t sequence) {
  TESSERA_RETURN_IF_ERROR(wire::CompareModels(config_.model, model, config_.strict));
  TESSERA_RETURN_IF_ERROR(CheckDescriptor(shard));
  const auto it = members_.find(shard.shard);
  if (it != members_.end() && it->second.shard.incarnation != shard.incarnation) {
    const Member& other = it->second;
    const absl::Duration replaceable_after = config_.replaceable_after + other.pause;
    if (!other.suspected && now - other.heard_at < replaceable_after) {
      return absl::AlreadyExistsError(absl::StrCat(
          NameOf(shard.shard, other.shard.incarnation), " lives at ", other.shard.grpc_address,
          "; one of ", absl::FormatDuration(now - other.heard_at),
          " of silence may be replaced from ", absl::FormatDuration(replaceable_after), " on"));
    }
    members_.erase(it);
  } else if (it == members_.end() && members_.size() >= config_.shards_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat(members_.size(), " shards are registered, no more are taken"));
  }
  Member& member = members_[shard.shard];
  if (shard.held_version < member.shard.held_version) {  // a load's answer overtook it
    shard.held = std::move(member.shard.held);
    shard.held_version = member.shard.held_version;
  }
  member = Member{.hidden = std::move(member.hidden),
                  .heard_at = now,
                  .sequence = std::max(member.sequence, sequence),
                  .drained = member.drained};
  std::vector<wire::HeldUnit> held = std::move(shard.held);
  member.shard = std::move(shard);
  TakeHeld(member, std::move(held));
  if (member.drained) member.shard.state = wire::ShardState::kDraining;
  Publish();
  return snapshot_->placement.epoch();
}

absl::StatusOr<ShardRegistry::Member*> ShardRegistry::FindMember(ShardId shard,
                                                                 uint64_t incarnation) {
  const auto it = members_.find(shard);
  if (it == members_.end() || it->second.shard.incarnation != incarnation) {
    return absl::NotFoundError(
        absl::StrCat(NameOf(shard, incarnation), " is not registered here: register again"));
  }
  return &it->second;
}

void ShardRegistry::TakeHeld(Member& member, std::vector<wire::HeldUnit> held) {
  member.shard.held = std::move(held);
  std::set<Unit> hidden;
  for (const wire::HeldUnit& unit : member.shard.held) {
    if (member.hidden.contains({unit.layer, unit.expert})) hidden.insert({unit.layer, unit.expert});
  }
  member.hidden = std::move(hidden);
}

absl::StatusOr<HeartbeatAnswer> ShardRegistry::Heartbeat(ShardHeartbeat heartbeat,
                                                         absl::Duration now,
                                                         absl::Duration idle_pause) {
  TESSERA_ASSIGN_OR_RETURN(Member * member, FindMember(heartbeat.shard, heartbeat.incarnation));
  if (heartbeat.sequence > 0 && heartbeat.sequence <= member->sequence) {
    return absl::UnauthenticatedError(absl::StrCat(NameOf(heartbeat.shard, heartbeat.incarnation),
                                                   " sent heartbeat ", heartbeat.sequence,
                                                   " after ", member->sequence));
  }
  member->sequence = std::max(member->sequence, heartbeat.sequence);
  HeartbeatAnswer answer;
  bool changed = false;
  if (heartbeat.held_version > member->shard.held_version) {
    // No units under a new version: either they were left out, or it holds none. Asked once, it
    // would send them.
    if (heartbeat.held.empty() && !member->held_asked) {
      member->held_asked = true;
      answer.held_wanted = true;
    } else {
      wire::ShardDescriptor next = member->shard;
      next.held = heartbeat.held;
      TESSERA_RETURN_IF_ERROR(CheckHeld(next));
      TakeHeld(*member, std::move(heartbeat.held));
      member->shard.held_version = heartbeat.held_version;
      member->held_asked = false;
      changed = true;
    }
  }
  member->heard_at = now;
  const bool is_idle = heartbeat.state == wire::ShardState::kReady && !answer.held_wanted &&
                       heartbeat.calls_total == member->calls_total;
  member->pause = answer.pause = is_idle ? idle_pause : absl::ZeroDuration();
  member->calls_total = heartbeat.calls_total;
  member->busy_ratio = heartbeat.busy_ratio;
  member->suspected = false;
  const auto state = member->drained ? wire::ShardState::kDraining : heartbeat.state;
  changed = changed || state != member->shard.state;
  member->shard.state = state;
  if (changed) Publish();
  answer.epoch = snapshot_->placement.epoch();
  return answer;
}

absl::StatusOr<Epoch> ShardRegistry::Drain(ShardId shard, uint64_t incarnation) {
  const auto it = members_.find(shard);
  if (incarnation == 0 && it != members_.end()) incarnation = it->second.shard.incarnation;
  TESSERA_ASSIGN_OR_RETURN(Member * member, FindMember(shard, incarnation));
  member->drained = true;
  member->shard.state = wire::ShardState::kDraining;
  Publish();
  return snapshot_->placement.epoch();
}

void ShardRegistry::Suspect(ShardId shard, uint64_t incarnation) {
  if (const auto member = FindMember(shard, incarnation); member.ok()) (*member)->suspected = true;
}

bool ShardRegistry::Lost(ShardId shard, uint64_t incarnation) {
  if (!FindMember(shard, incarnation).ok()) return false;
  members_.erase(shard);
  Publish();
  return true;
}

absl::Status ShardRegistry::SetHeld(ShardId shard, uint64_t incarnation, uint64_t held_version,
                                    std::vector<wire::HeldUnit> held) {
  TESSERA_ASSIGN_OR_RETURN(Member * member, FindMember(shard, incarnation));
  if (held_version < member->shard.held_version) return absl::OkStatus();
  wire::ShardDescriptor next = member->shard;
  next.held = held;
  TESSERA_RETURN_IF_ERROR(CheckHeld(next));
  TakeHeld(*member, std::move(held));
  member->shard.held_version = held_version;
  member->held_asked = false;
  Publish();
  return absl::OkStatus();
}

absl::Status ShardRegistry::Hide(ShardId shard, uint64_t incarnation, std::span<const Unit> units) {
  TESSERA_ASSIGN_OR_RETURN(Member * member, FindMember(shard, incarnation));
  member->hidden.insert(units.begin(), units.end());
  TakeHeld(*member, std::move(member->shard.held));
  Publish();
  return absl::OkStatus();
}

void ShardRegistry::Unhide(ShardId shard, std::span<const Unit> units) {
  const auto it = members_.find(shard);
  if (it == members_.end()) return;
  for (const Unit& unit : units) it->second.hidden.erase(unit);
  Publish();
}

std::vector<ShardId> ShardRegistry::Tick(absl::Duration now) {
  std::vector<ShardId> lost;
  for (const auto& [id, member] : members_) {
    if (now - member.heard_at > config_.lost_after + member.pause) lost.push_back(id);
  }
  for (const ShardId id : lost) members_.erase(id);
  if (!lost.empty()) Publish();
  return lost;
}

absl::Duration ShardRegistry::SilentAt() const {
  absl::Duration at = absl::InfiniteDuration();
  for (const auto& [id, member] : members_) {
    at = std::min(at, member.heard_at + config_.lost_after + member.pause);
  }
  return at + absl::Nanoseconds(1);
}

const wire::ShardDescriptor* ShardRegistry::Find(ShardId shard) const {
  const auto it = members_.find(shard);
  return it == members_.end() ? nullptr : &it->second.shard;
}

float ShardRegistry::BusyRatio(ShardId shard) const {
  const auto it = members_.find(shard);
  return it == members_.end() ? 0 : it->second.busy_ratio;
}

ShardCounts ShardRegistry::Counts(absl::Duration now) const {
  ShardCounts counts;
  for (const auto& [id, member] : members_) {
    counts.loading += member.shard.state == wire::ShardState::kLoading;
    counts.ready += member.shard.state == wire::ShardState::kReady;
    counts.draining += member.shard.state == wire::ShardState::kDraining;
    counts.heartbeat_age_max = std::max(counts.heartbeat_age_max, now - member.heard_at);
  }
  return counts;
}

void ShardRegistry::Publish() {
  wire::PublishedPlacement next;
  std::vector<PlacedUnit> units;
  for (const auto& [id, member] : members_) {
    wire::ShardDescriptor described = member.shard;
    described.held.clear();
    const bool stands = member.shard.state == wire::ShardState::kReady;
    if (!stands) described.held_version = 0;  // while it loads the map would change all the time
    next.shards.push_back(std::move(described));
    if (!stands) continue;
    for (const wire::HeldUnit& held : member.shard.held) {
      if (member.hidden.contains({held.layer, held.expert})) continue;
      units.push_back({held.layer, held.expert, {id, held.slot, held.weights_version}});
    }
  }
  const uint64_t epoch = snapshot_ == nullptr
                             ? config_.epoch_first
                             : static_cast<uint64_t>(snapshot_->placement.epoch()) + 1;
  auto built = Placement::Build(
      Epoch{epoch}, {config_.model.layer_count, config_.model.expert_count}, std::move(units));
  TESSERA_CHECK(built.ok());  // CheckHeld saw every shard's units
  next.placement = *std::move(built);
  if (snapshot_ != nullptr && SameMap(*snapshot_, next)) return;
  snapshot_ = std::make_shared<const wire::PublishedPlacement>(std::move(next));
}

}  // namespace tessera::router
