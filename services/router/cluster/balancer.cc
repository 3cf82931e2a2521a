#include "services/router/cluster/balancer.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace tessera::router {
namespace {

// After a shard came: others may be on their way.
constexpr absl::Duration kNewShardPause = absl::Seconds(1);
// After a look that found moves, repairs or drains under way.
constexpr absl::Duration kBusyPause = absl::Seconds(1);

}  // namespace

std::string_view NameOf(BalanceVerdict verdict) {
  switch (verdict) {
    case BalanceVerdict::kNone:
      return "none";
    case BalanceVerdict::kUnknown:
      return "unknown";
    case BalanceVerdict::kGood:
      return "good";
    case BalanceVerdict::kNoGain:
      return "no_gain";
    case BalanceVerdict::kFrozen:
      return "frozen";
    case BalanceVerdict::kDryRun:
      return "dry_run";
    case BalanceVerdict::kMoving:
      return "moving";
    case BalanceVerdict::kBusy:
      return "busy";
  }
  return "none";
}

Balancer::Balancer(const BalancerConfig& config, const PlacementShape& shape,
                   std::vector<LayerIndex> moe_layers)
    : config_(config),
      moe_layers_(std::move(moe_layers)),
      window_(shape, config.window_steps),
      migration_({.copies_min = config.copies_min,
                  .shards_max = config.shards_max,
                  .bytes_per_second_max = config.bytes_per_second_max}) {
  TESSERA_CHECK(config_.interval > absl::ZeroDuration());
}

BalanceOptions Balancer::options() const {
  return {.copies_min = config_.copies_min,
          .loads_max = config_.loads_max,
          .target = target(),
          .slots_kept_free = config_.slots_kept_free};
}

// Of n shards that are even and one that is empty the balance is n / (n + 1): with many shards that
// is above any fixed target.
double Balancer::target() const {
  if (!sharing()) return config_.target;
  const auto shards = static_cast<double>(std::max<size_t>(1, known_shards_.size()));
  return std::max(config_.target, 1 - 0.5 / shards);
}

BalanceProblem Balancer::MakeProblem(const Placement& placement,
                                     std::span<const RepairShard> shards,
                                     const CostModel& costs) const {
  BalanceProblem problem;
  problem.shape = window_.shape();
  problem.cost = window_.UnitCosts(costs, moe_layers_);
  for (const RepairShard& shard : shards) {
    BalanceShard& described = problem.shards.emplace_back();
    described.shard = shard.shard->shard;
    described.slot_count = shard.shard->slot_count;
    described.burst = shard.shard->burst;
    described.usable = shard.usable && !shard.leaving;
    described.zone = shard.shard->zone;
    for (const wire::HeldUnit& held : shard.shard->held) {
      const auto replicas = placement.replicas(held.layer, held.expert);
      const bool in_map = std::ranges::any_of(
          replicas, [&](const Replica& replica) { return replica.shard == described.shard; });
      if (in_map || !described.usable) {
        problem.copies.push_back({held.layer, held.expert, described.shard});
      } else if (described.slot_count > 0) {
        --described.slot_count;  // hidden: on its way out
      }
    }
  }
  return problem;
}

void Balancer::FindNewcomers(std::span<const RepairShard> shards) {
  std::erase_if(newcomers_, [&](uint64_t incarnation) {
    return std::ranges::none_of(
        shards, [&](const RepairShard& shard) { return shard.shard->incarnation == incarnation; });
  });
  for (const RepairShard& shard : shards) {
    if (shard.usable && !shard.leaving && shard.shard->slot_count > 0 &&
        shard.shard->held.empty()) {
      newcomers_.insert(shard.shard->incarnation);
    }
  }
}

std::optional<BalanceProblem> Balancer::DueProblem(const Placement& placement,
                                                   std::span<const RepairShard> shards,
                                                   const CostModel& costs, bool disturbed,
                                                   absl::Duration now) {
  // Shards that came make a look worthwhile at once, those that went leave it to the repair.
  std::vector<uint64_t> known;
  for (const RepairShard& shard : shards) {
    if (shard.usable && !shard.leaving) known.push_back(shard.shard->incarnation);
  }
  std::ranges::sort(known);
  if (!due_at_) due_at_ = now + config_.interval;
  if (!std::ranges::includes(known_shards_, known)) {
    due_at_ = std::min(*due_at_, now + kNewShardPause);
    known_shards_ = known;
  }
  FindNewcomers(shards);
  if (!IsDue(now)) return std::nullopt;
  dry_ = !forced_ && now < *due_at_;
  asked_ = false;
  known_shards_ = std::move(known);
  if (!dry_) due_at_ = now + config_.interval;
  look_.at = now;
  ++looks_;
  if (disturbed || !migration_.idle()) {
    look_.verdict = BalanceVerdict::kBusy;
    if (!dry_) due_at_ = now + std::min(config_.interval, kBusyPause);
    return std::nullopt;
  }
  // What was ordered for newcomers has come, all of it: only one that holds nothing still lacks it.
  if (std::exchange(shares_, false) && look_.plan.loads < config_.loads_max &&
      migration_.CountOf(UnitMigration::Stage::kFailed) == 0) {
    newcomers_.clear();
    FindNewcomers(shards);
  }
  look_.costs = costs;
  look_.steps = window_.steps();
  return MakeProblem(placement, shards, costs);
}

BalanceVerdict Balancer::Judge(bool forced, bool dry) const {
  const bool wanted = forced || sharing();
  const double limit = pursued_ || sharing() ? target() : config_.threshold;
  if (!migration_.idle()) return BalanceVerdict::kBusy;
  if (look_.steps < config_.steps_min && !wanted) return BalanceVerdict::kUnknown;
  if (look_.plan.before >= limit && !forced) return BalanceVerdict::kGood;
  if (look_.plan.moves.empty() || (look_.plan.gain() < config_.gain_min && !wanted)) {
    return BalanceVerdict::kNoGain;
  }
  if (frozen() && !forced) return BalanceVerdict::kFrozen;
  return dry ? BalanceVerdict::kDryRun : BalanceVerdict::kMoving;
}

void Balancer::Consider(BalancePlan plan, absl::Duration now) {
  const bool forced = std::exchange(forced_, false);
  const bool dry = std::exchange(dry_, false) && !forced;
  look_.plan = std::move(plan);
  look_.verdict = Judge(forced, dry);
  if (look_.verdict == BalanceVerdict::kGood || look_.verdict == BalanceVerdict::kNoGain) {
    pursued_ = pursued_ && dry;
    if (!dry) newcomers_.clear();
  }
  if (look_.verdict != BalanceVerdict::kMoving) return;
  pursued_ = look_.plan.after < config_.target;
  shares_ = sharing();
  ++rounds_;
  moves_before_ += MovesEnded();
  migration_.Begin(look_.plan.moves, now);
}

size_t Balancer::MovesEnded() const {
  return migration_.CountOf(UnitMigration::Stage::kDone) +
         migration_.CountOf(UnitMigration::Stage::kFailed);
}

RepairActions Balancer::Next(const Placement& placement, std::span<const RepairShard> shards,
                             bool views_quiet, bool disturbed, absl::Duration now) {
  if (disturbed) migration_.Cancel();
  return migration_.Next(placement, shards, views_quiet, now);
}

void Balancer::Finished(ShardId shard, const absl::Status& status, absl::Duration now) {
  migration_.Finished(shard, status, now);
}

void Balancer::Freeze() {
  frozen_ = true;
  pursued_ = false;
  forced_ = false;
  migration_.Cancel();
}

void Balancer::Thaw() { frozen_ = false; }

void Balancer::Trigger(bool moves) { (moves ? forced_ : asked_) = true; }

}  // namespace tessera::router
