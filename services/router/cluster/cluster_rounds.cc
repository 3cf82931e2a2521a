// The parts of a round: what is published, repaired, drained, measured.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "services/router/cluster/cluster_brain.h"

namespace tessera::router {
namespace {

// A view is held for one step, which hardly ever takes so long; a call it then makes to a shard
// that let the expert go is refused and made elsewhere.
constexpr absl::Duration kViewLifeMax = absl::Seconds(3);

}  // namespace

void ClusterBrain::PublishIfChanged() {
  std::shared_ptr<const wire::PublishedPlacement> next = registry_.Snapshot();
  if (next == published_.Read()) return;
  published_.Publish(next);
  repair_.Saw(next->placement);
  sessions_.SetPlacement(std::move(next));
  service_.Announce();
}

void ClusterBrain::OnLeaderPlacement(std::shared_ptr<const wire::PublishedPlacement> published) {
  const PlacementShape& shape = published->placement.shape();
  if (shape.layer_count != config_.model.layer_count ||
      shape.expert_count != config_.model.expert_count) {
    TESSERA_LOG(ERROR) << "the leader " << config_.leader << " places " << shape.layer_count
                       << " layers of " << shape.expert_count
                       << " experts, this router's model has " << config_.model.layer_count
                       << " of " << config_.model.expert_count << "; its placement is ignored";
    return;
  }
  absl::MutexLock lock(&mutex_);
  followed_ = std::move(published);
  PublishOverlaid();
  Wake();
}

void ClusterBrain::PublishOverlaid() {
  std::shared_ptr<const wire::PublishedPlacement> next = overlay_.Apply(followed_);
  published_.Publish(next);
  sessions_.SetPlacement(std::move(next));
}

std::vector<RepairShard> ClusterBrain::RepairShards(std::vector<wire::ShardDescriptor>& memory) {
  const std::shared_ptr<const wire::PublishedPlacement> published = published_.Read();
  const std::shared_ptr<const ClusterView> view = sessions_.View();
  std::vector<RepairShard> shards;
  memory.clear();
  memory.reserve(published->shards.size());  // pointers to it are handed out
  for (const wire::ShardDescriptor& shard : published->shards) {
    const ShardLink* link = view->LinkOf(shard.shard);
    const bool usable = shard.state == wire::ShardState::kReady && link != nullptr &&
                        link->incarnation == shard.incarnation;
    const bool leaving = std::any_of(drains_.begin(), drains_.end(), [&](const Draining& d) {
      return d.shard == shard.shard && d.incarnation == shard.incarnation;
    });
    const wire::ShardDescriptor* complete = leads() ? registry_.Find(shard.shard) : nullptr;
    if (complete == nullptr) {
      memory.push_back(shard);
      complete = &memory.back();
    }
    shards.push_back({complete, usable, leaving});
  }
  if (leads()) return shards;
  for (const PlacedUnit& unit : published->placement.Units()) {
    const auto it = std::find_if(memory.begin(), memory.end(), [&](const auto& shard) {
      return shard.shard == unit.replica.shard;
    });
    it->held.push_back({unit.layer, unit.expert, unit.replica.slot, unit.replica.weights_version});
  }
  return shards;
}

std::vector<ShardOrder> ClusterBrain::Repair(absl::Duration now) {
  const uint64_t version = sessions_.View()->version;
  if (repair_.idle() && drains_.empty() && version == repaired_version_) return {};
  repaired_version_ = version;
  std::vector<wire::ShardDescriptor> memory;
  std::vector<RepairShard> shards = RepairShards(memory);
  for (RepairShard& shard : shards) shard.busy = balancer_.WorksOn(shard.shard->shard);
  const bool quiet = ViewsQuiet(hidden_version_, hidden_at_, now);
  RepairActions actions = repair_.Next(published_.Read()->placement, shards, quiet, now);
  ApplyHides(actions, now);
  return std::move(actions.orders);
}

bool ClusterBrain::ViewsQuiet(uint64_t version, absl::Duration since, absl::Duration now) {
  return sessions_.OlderViewsGone(version) || now - since >= kViewLifeMax;
}

void ClusterBrain::ApplyHides(const RepairActions& actions, absl::Duration now) {
  for (const auto& [shard, units] : actions.hide) {
    const wire::ShardDescriptor* found = registry_.Find(shard);
    TESSERA_CHECK(found != nullptr);  // Next knows its shards from the registry
    TESSERA_CHECK(registry_.Hide(shard, found->incarnation, units).ok());
  }
  for (const auto& [shard, units] : actions.unhide) registry_.Unhide(shard, units);
  if (leads()) PublishIfChanged();
  if (actions.hide.empty()) return;
  hidden_version_ = sessions_.View()->version;
  hidden_at_ = now;
}

absl::Duration ClusterBrain::DrainDeadline(ShardId shard, absl::Duration now) {
  std::vector<wire::ShardDescriptor> memory;
  const size_t only = UnitRepair::OnlyOn(shard, published_.Read()->placement, RepairShards(memory));
  // Those that take over may have to end an order first, which keeps its own pace.
  const absl::Duration under_way =
      std::max(ReadTimeMax(UnitRepairConfig{}.background_units_max, config_.model,
                           config_.restore_bytes_per_second_max),
               ReadTimeMax(UnitMigrationConfig{}.units_max, config_.model,
                           config_.balance.bytes_per_second_max));
  return now + config_.drain_timeout + under_way + ReadTimeMax(only, config_.model, 0);
}

void ClusterBrain::AdvanceDrains(absl::Duration now, Answers& answers) {
  for (Draining& drain : drains_) {
    const std::optional<absl::StatusOr<Epoch>> end = AdvanceDrain(drain, now);
    if (!end) continue;
    for (DrainDone& done : drain.done) answers.emplace_back(std::move(done), *end);
    drain.done.clear();
  }
  std::erase_if(drains_, [](const Draining& drain) { return drain.done.empty(); });
  const auto find = [this](ShardId shard)
                        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return registry_.Find(shard); };
  for (const ShardId shard : drain_watch_.TakeUnfinished(find, now)) {
    metrics_.drains_unfinished.Increment();
    TESSERA_LOG(WARNING) << "shard " << ToIndex(shard)
                         << " went before it was drained: its time was over";
  }
}

std::optional<absl::StatusOr<Epoch>> ClusterBrain::AdvanceDrain(Draining& drain,
                                                                absl::Duration now) {
  const std::string name = absl::StrCat("shard ", ToIndex(drain.shard));
  const wire::ShardDescriptor* found = registry_.Find(drain.shard);
  const auto published = published_.Read();
  if (found == nullptr || found->incarnation != drain.incarnation) {
    return published->placement.epoch();  // it went by itself
  }
  if (!drain.evacuated) {
    std::vector<wire::ShardDescriptor> memory;
    const size_t only = UnitRepair::OnlyOn(drain.shard, published->placement, RepairShards(memory));
    if (only > 0 && repair_.unplaceable() > 0 && !repair_.busy() && !repair_.makes_room()) {
      return absl::ResourceExhaustedError(
          absl::StrCat(name, " alone holds ", only, " experts, and no other shard has a slot for ",
                       repair_.unplaceable(), " of them; it stays in the map"));
    }
    if (only > 0 && now >= drain.deadline) {
      return absl::DeadlineExceededError(
          absl::StrCat(name, " still alone holds ", only, " experts after ",
                       absl::FormatDuration(now - drain.began), "; it stays in the map"));
    }
    if (only > 0) {
      drain_watch_.StillAsked(drain.shard, drain.incarnation, now);
      return std::nullopt;
    }
    drain.epoch = *registry_.Drain(drain.shard, drain.incarnation);
    PublishIfChanged();
    drain.evacuated = true;
    drain_watch_.Released(drain.shard, drain.incarnation);
    drain.published_at = now;
    drain.view_version = sessions_.View()->version;
  }
  const bool views_gone = ViewsQuiet(drain.view_version, drain.published_at, now);
  const bool calls_gone = sessions_.CallsInFlight(drain.shard) == 0;
  if ((!views_gone || !calls_gone) && now < drain.deadline) return std::nullopt;
  TESSERA_LOG(INFO) << name << " drained, epoch " << static_cast<uint64_t>(drain.epoch);
  return drain.epoch;
}

void ClusterBrain::SetMetrics(absl::Duration now) {
  const auto view = sessions_.View();
  metrics_.linked.Set(static_cast<double>(
      std::count_if(view->links.begin(), view->links.end(), [](const auto& l) { return !!l; })));
  metrics_.epoch.Set(static_cast<double>(static_cast<uint64_t>(view->placement.epoch())));
  metrics_.copies_min.Set(static_cast<double>(repair_.copies_min()));
  metrics_.copies_wanted.Set(config_.copies_wanted);
  metrics_.leads.Set(leads() ? 1 : 0);
  metrics_.units_missing.Set(static_cast<double>(repair_.without_copy()));
  metrics_.units_unplaceable.Set(static_cast<double>(repair_.unplaceable()));
  if (!leads()) return;
  SetBalanceMetrics(now);
  const ShardCounts counts = registry_.Counts(now);
  metrics_.loading.Set(static_cast<double>(counts.loading));
  metrics_.ready.Set(static_cast<double>(counts.ready));
  metrics_.draining.Set(static_cast<double>(counts.draining));
  metrics_.heartbeat_age.Set(absl::ToDoubleSeconds(counts.heartbeat_age_max));
}

void ClusterBrain::UpdateRoster(absl::Duration now) {
  const std::shared_ptr<const wire::PublishedPlacement> published = published_.Read();
  const std::shared_ptr<const ClusterView> view = sessions_.View();
  std::vector<ShardSight> sights;
  for (const wire::ShardDescriptor& shard : published->shards) {
    const ShardLink* link = view->LinkOf(shard.shard);
    sights.push_back({.shard = shard.shard,
                      .state = shard.state,
                      .is_linked = link != nullptr && link->incarnation == shard.incarnation,
                      .busy_ratio = leads() ? registry_.BusyRatio(shard.shard) : 0});
  }
  roster_.Update(sights, now);
  const std::vector<wire::ShardActivity> activities = roster_.Activities();
  metrics_.missing.Set(static_cast<double>(std::ranges::count(
      activities, wire::ShardCondition::kLost, &wire::ShardActivity::condition)));
}

void ClusterBrain::RefreshMetrics() {
  const int64_t round_at = round_at_ns_.load();
  if (round_at == 0) return;
  metrics_.round_age.Set(absl::ToDoubleSeconds(clock_.Elapsed() - absl::Nanoseconds(round_at)));
}

std::vector<wire::ShardActivity> ClusterBrain::ShardActivities() {
  const absl::Duration now = clock_.Elapsed();
  const bool was_watched = IsWatched(now);
  looked_at_ns_.store(absl::ToInt64Nanoseconds(now));
  if (!was_watched) Wake();  // a round, from which on they are quick
  absl::MutexLock lock(&mutex_);
  return roster_.Activities();
}

absl::Status ClusterBrain::Coverage() const {
  const std::shared_ptr<const ClusterView> view = sessions_.View();
  size_t missing = 0;
  std::string first;
  for (const LayerIndex layer : config_.moe_layers) {
    for (uint32_t e = 0; e < config_.model.expert_count; ++e) {
      const auto replicas = view->placement.replicas(layer, ExpertId{e});
      const bool live = std::any_of(replicas.begin(), replicas.end(), [&](const Replica& replica) {
        return view->LinkOf(replica.shard) != nullptr;
      });
      if (live || missing++ > 0) continue;
      first = absl::StrCat("expert ", e, " of layer ", ToIndex(layer));
    }
  }
  if (missing == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(missing, " experts have no live copy, the first is ",
                                             first, "; ", view->placement.shards().size(),
                                             " shards hold any"));
}

absl::Status ClusterBrain::WaitUntilCovered(absl::Duration timeout) const {
  const absl::Duration deadline = clock_.Elapsed() + timeout;
  for (;;) {
    const uint64_t version = sessions_.View()->version;
    absl::Status status = Coverage();
    const absl::Duration left = deadline - clock_.Elapsed();
    if (status.ok() || left <= absl::ZeroDuration()) return status;
    if (!sessions_.AwaitViewAfter(version, left)) return Coverage();
  }
}

}  // namespace tessera::router
