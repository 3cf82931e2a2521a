#include "services/router/cluster/unit_migration.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace tessera::router {
namespace {

using Kind = BalanceMove::Kind;
using Stage = UnitMigration::Stage;

const wire::HeldUnit* FindHeld(const wire::ShardDescriptor& shard, const BalanceMove& move) {
  const auto it = std::ranges::find_if(shard.held, [&](const wire::HeldUnit& held) {
    return held.layer == move.layer && held.expert == move.expert;
  });
  return it == shard.held.end() ? nullptr : &*it;
}

// Whether a new map would list the copy.
bool IsMapped(const Placement& placement, const BalanceMove& move, ShardId shard) {
  return std::ranges::any_of(placement.replicas(move.layer, move.expert),
                             [&](const Replica& replica) { return replica.shard == shard; });
}

bool Counts(const RepairShard* shard) {
  return shard != nullptr && shard->usable && !shard->leaving;
}

bool Ended(Stage stage) { return stage == Stage::kDone || stage == Stage::kFailed; }

}  // namespace

struct UnitMigration::Round {
  const Placement& placement;
  std::span<const RepairShard> shards;
  bool views_quiet;
  absl::Duration now;
  bool has_base;  // some shard that counts is no burst shard
  // Steps further down leave these alone.
  std::set<ShardId> targets_taken;
  std::set<Unit> units_taken;
  std::map<ShardId, ShardOrder> loads;
  std::map<ShardId, ShardOrder> drops;
  std::map<ShardId, std::vector<size_t>> load_steps;
  std::map<ShardId, std::vector<size_t>> drop_steps;
  std::map<ShardId, std::set<uint32_t>> slots_taken;
  RepairActions actions;

  const RepairShard* Find(ShardId id) const {
    const auto it = std::ranges::lower_bound(
        shards, id, {}, [](const RepairShard& shard) { return shard.shard->shard; });
    return it != shards.end() && it->shard->shard == id ? &*it : nullptr;
  }
  bool IsBase(const RepairShard& shard) const { return !has_base || !shard.shard->burst; }
  // Whether the copy at `from` may go: so many others live, and one of them on a shard that stays;
  // if it lies on such a shard, all of them do.
  bool EnoughBesides(const BalanceMove& move, size_t copies_min) const {
    size_t live = 0;
    size_t lasting = 0;
    for (const Replica& replica : placement.replicas(move.layer, move.expert)) {
      const RepairShard* shard = replica.shard == move.from ? nullptr : Find(replica.shard);
      if (!Counts(shard)) continue;
      ++live;
      lasting += IsBase(*shard);
    }
    const RepairShard* from = Find(move.from);
    return lasting >= 1 && (from != nullptr && IsBase(*from) ? lasting : live) >= copies_min;
  }
  void Hide(const BalanceMove& move) {
    actions.hide.push_back({move.from, {Unit{move.layer, move.expert}}});
  }
  void Unhide(const BalanceMove& move) {
    actions.unhide.push_back({move.from, {Unit{move.layer, move.expert}}});
  }
  // In this round: no view knows it yet.
  bool HidNow(const BalanceMove& move) const {
    return std::ranges::any_of(actions.hide, [&](const auto& hide) {
      return hide.first == move.from && hide.second.front() == Unit{move.layer, move.expert};
    });
  }
};

UnitMigration::UnitMigration(UnitMigrationConfig config) : config_(config) {
  TESSERA_CHECK(config_.copies_min >= 1 && config_.shards_max >= 1 && config_.units_max >= 1);
}

void UnitMigration::Begin(const std::vector<BalanceMove>& moves, absl::Duration now) {
  TESSERA_CHECK(idle());
  steps_.clear();
  for (const BalanceMove& move : moves) steps_.push_back({.move = move});
  progress_at_ = now;
}

void UnitMigration::Cancel() {
  for (Step& step : steps_) {
    if (step.stage == Stage::kWaiting) step.stage = Stage::kFailed;
  }
}

bool UnitMigration::idle() const {
  return std::ranges::all_of(steps_, [](const Step& step) { return Ended(step.stage); });
}

size_t UnitMigration::CountOf(Stage stage) const {
  return static_cast<size_t>(
      std::ranges::count_if(steps_, [&](const Step& step) { return step.stage == stage; }));
}

std::optional<absl::Duration> UnitMigration::progress_at() const {
  return idle() ? std::nullopt : std::optional(progress_at_);
}

void UnitMigration::SetStage(Step& step, Stage stage, absl::Duration now) {
  step.stage = stage;
  progress_at_ = now;
}

RepairActions UnitMigration::Next(const Placement& placement, std::span<const RepairShard> shards,
                                  bool views_quiet, absl::Duration now) {
  const bool has_base = std::ranges::any_of(
      shards, [](const RepairShard& shard) { return Counts(&shard) && !shard.shard->burst; });
  Round round{placement, shards, views_quiet, now, has_base, {}, {}, {}, {}, {}, {}, {}, {}};
  const bool stalled = !idle() && now - progress_at_ > config_.stall_max;
  if (stalled) Cancel();
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Stage before = steps_[i].stage;
    if (Ended(before)) continue;
    Advance(round, i);
    if (stalled && steps_[i].stage == before) GiveUp(round, i);
  }
  for (auto& [id, order] : round.loads) {
    in_flight_[id] = {.drops = false, .steps = std::move(round.load_steps[id])};
    round.actions.orders.push_back(std::move(order));
  }
  for (auto& [id, order] : round.drops) {
    in_flight_[id] = {.drops = true, .steps = std::move(round.drop_steps[id])};
    round.actions.orders.push_back(std::move(order));
  }
  return std::move(round.actions);
}

void UnitMigration::Advance(Round& round, size_t index) {
  Step& step = steps_[index];
  const Unit unit{step.move.layer, step.move.expert};
  if (step.stage == Stage::kWaiting && !round.units_taken.contains(unit)) TryBegin(round, index);
  if (step.stage == Stage::kLoaded) TryHide(round, index);
  if (step.stage == Stage::kHidden) TryDrop(round, index);
  if (Ended(step.stage)) return;
  round.units_taken.insert(unit);
  if (step.stage == Stage::kWaiting && step.move.kind != Kind::kDrop) {
    round.targets_taken.insert(step.move.to);
  }
}

void UnitMigration::TryBegin(Round& round, size_t index) {
  Step& step = steps_[index];
  if (step.move.kind == Kind::kDrop) return TryHide(round, index);
  const ShardId id = step.move.to;
  const RepairShard* to = round.Find(id);
  if (to == nullptr || to->leaving) return SetStage(step, Stage::kFailed, round.now);
  if (FindHeld(*to->shard, step.move) != nullptr) {  // somebody was faster
    return SetStage(step, step.move.kind == Kind::kCopy ? Stage::kDone : Stage::kLoaded, round.now);
  }
  if (!to->usable || to->busy || in_flight_.contains(id) || round.drops.contains(id) ||
      round.targets_taken.contains(id)) {
    return;
  }
  std::vector<size_t>& batch = round.load_steps[id];
  const bool may_read =
      !batch.empty() ||
      round.loads.size() +
              static_cast<size_t>(std::ranges::count_if(
                  in_flight_, [](const auto& flight) { return !flight.second.drops; })) <
          config_.shards_max;
  if (batch.size() >= config_.units_max || !may_read) return;
  std::set<uint32_t>& taken = round.slots_taken[id];
  for (const wire::HeldUnit& held : to->shard->held) taken.insert(held.slot);
  uint32_t slot = 0;
  while (taken.contains(slot)) ++slot;
  if (slot >= to->shard->slot_count) return;  // until something is dropped there
  taken.insert(slot);
  ShardOrder& order = round.loads[id];
  order.shard = id;
  order.incarnation = to->shard->incarnation;
  order.order.bytes_per_second_max = config_.bytes_per_second_max;
  order.order.load.push_back({step.move.layer, step.move.expert, slot});
  batch.push_back(index);
  SetStage(step, Stage::kLoading, round.now);
}

void UnitMigration::TryHide(Round& round, size_t index) {
  Step& step = steps_[index];
  const RepairShard* from = round.Find(step.move.from);
  if (from == nullptr || FindHeld(*from->shard, step.move) == nullptr) {
    return SetStage(step, Stage::kDone, round.now);  // it went by itself
  }
  if (!round.EnoughBesides(step.move, config_.copies_min)) {
    // The copy that was loaded may not be in the map yet, or out of reach for a moment.
    const RepairShard* to = step.move.kind == Kind::kMove ? round.Find(step.move.to) : nullptr;
    const bool counted = Counts(to) && IsMapped(round.placement, step.move, step.move.to);
    const bool may_come = to != nullptr && FindHeld(*to->shard, step.move) != nullptr && !counted;
    if (!may_come) SetStage(step, Stage::kFailed, round.now);
    return;
  }
  round.Hide(step.move);
  step.hidden_at = round.now;
  step.hidden_incarnation = from->shard->incarnation;
  SetStage(step, Stage::kHidden, round.now);
}

void UnitMigration::TryDrop(Round& round, size_t index) {
  Step& step = steps_[index];
  const ShardId id = step.move.from;
  const RepairShard* from = round.Find(id);
  const wire::HeldUnit* held = from == nullptr ? nullptr : FindHeld(*from->shard, step.move);
  if (held == nullptr || from->shard->incarnation != step.hidden_incarnation) {
    return SetStage(step, Stage::kDone, round.now);  // gone, or it stands in the map anew
  }
  if (!round.EnoughBesides(step.move, config_.copies_min)) {
    round.Unhide(step.move);
    return SetStage(step, Stage::kFailed, round.now);
  }
  if (round.HidNow(step.move)) return;
  if (IsMapped(round.placement, step.move, id)) {  // it was away for a moment and registered again
    round.Hide(step.move);
    step.hidden_at = round.now;
    return;
  }
  if (!round.views_quiet || round.now < step.drop_at ||
      round.now - step.hidden_at < config_.drop_delay) {
    return;
  }
  if (!from->usable || from->busy || in_flight_.contains(id) || round.loads.contains(id)) return;
  ShardOrder& order = round.drops[id];
  order.shard = id;
  order.incarnation = from->shard->incarnation;
  order.order.drop.push_back(*held);
  round.drop_steps[id].push_back(index);
  step.stage = Stage::kDropping;
  if (step.drops_failed == 0) progress_at_ = round.now;  // repeated, it gets nothing on
}

void UnitMigration::GiveUp(Round& round, size_t index) {
  Step& step = steps_[index];
  if (step.stage != Stage::kLoaded && step.stage != Stage::kHidden) return;
  if (step.stage == Stage::kHidden) round.Unhide(step.move);
  SetStage(step, Stage::kFailed, round.now);
}

void UnitMigration::Finished(ShardId shard, const absl::Status& status, absl::Duration now) {
  const auto it = in_flight_.find(shard);
  TESSERA_CHECK(it != in_flight_.end());
  const Flight flight = std::move(it->second);
  in_flight_.erase(it);
  for (const size_t index : flight.steps) {
    Step& step = steps_[index];
    if (flight.drops && !status.ok()) {
      // It stands hidden and is tried again after a while, or has gone with its shard.
      step.stage = Stage::kHidden;
      step.drop_at =
          now + PauseAfter(step.drops_failed++, config_.drop_pause, config_.drop_pause_max);
    } else if (flight.drops) {
      SetStage(step, Stage::kDone, now);
    } else if (!status.ok()) {
      SetStage(step, Stage::kFailed, now);
    } else {
      SetStage(step, step.move.kind == Kind::kCopy ? Stage::kDone : Stage::kLoaded, now);
    }
  }
  // The plan counted on what did not come: the next round looks again.
  if (!status.ok()) Cancel();
}

}  // namespace tessera::router
