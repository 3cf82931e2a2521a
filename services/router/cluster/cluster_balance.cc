// The brain's side of the balancer: its thread, its rounds, its operators.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "services/router/cluster/balance_report.h"
#include "services/router/cluster/cluster_brain.h"

namespace tessera::router {
namespace {

constexpr absl::Duration kReportInterval = absl::Seconds(1);
// While a look is near or something moves.
constexpr absl::Duration kTick = absl::Milliseconds(250);

}  // namespace

void ClusterBrain::RunBalance() {
  absl::Duration pause = kTick;
  for (;;) {
    bool asked = false;
    {
      absl::MutexLock lock(&inbox_mutex_);
      const auto due = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(inbox_mutex_) {
        return look_wanted_ || shard_came_ || stopping_;
      };
      inbox_mutex_.AwaitWithTimeout(absl::Condition(&due), pause);
      if (stopping_) return;
      asked = std::exchange(look_wanted_, false);
      shard_came_ = false;
    }
    if (leads()) {
      LookAtBalance(asked);
    } else {
      TellLeader();
    }
    pause = BalancePause();
  }
}

absl::Duration ClusterBrain::BalancePause() {
  const absl::Duration now = clock_.Elapsed();
  absl::MutexLock lock(&mutex_);
  const bool calm = !Disturbed() && balancer_.migration().idle() &&
                    (!leads() || !balancer_.IsDue(now + kReportInterval));
  return calm ? std::clamp(report_due_ - now, kTick, kReportInterval) : kTick;
}

void ClusterBrain::TellLeader() {
  if (clock_.Elapsed() < report_due_) return;
  report_due_ = clock_.Elapsed() + kReportInterval;
  const ExpertTotals totals = TotalsOf(meter_.tally, config_.model.layer_count);
  // What could not be told is told with the next report.
  if (reporter_->Report(totals.Since(reported_), kReportInterval).ok()) reported_ = totals;
}

absl::Status ClusterBrain::ReportRouting(const std::vector<RoutedLayer>& layers) {
  ExpertTotals totals;
  const PlacementShape& shape =
      totals.shape = {config_.model.layer_count, config_.model.expert_count};
  const size_t experts = shape.expert_count;
  totals.rows.resize(shape.layer_count * experts);
  totals.touches.resize(totals.rows.size());
  totals.steps.resize(shape.layer_count);
  for (const RoutedLayer& layer : layers) {
    const size_t index = ToIndex(layer.layer);
    if (index >= shape.layer_count || layer.rows.size() != experts ||
        layer.touches.size() != experts || totals.steps[index] != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("routing of layer ", index, " with ", layer.rows.size(), " and ",
                       layer.touches.size(), " experts; expected each of ", shape.layer_count,
                       " layers at most once, with ", experts));
    }
    totals.steps[index] = layer.steps;
    const auto first = static_cast<ptrdiff_t>(index * experts);
    std::ranges::copy(layer.rows, totals.rows.begin() + first);
    std::ranges::copy(layer.touches, totals.touches.begin() + first);
  }
  absl::MutexLock lock(&mutex_);
  balancer_.Report(totals);
  return absl::OkStatus();
}

void ClusterBrain::LookAtBalance(bool asked) {
  // Thousands of counters: read now and then, and without the lock.
  ExpertTotals counted;
  const absl::Duration start = clock_.Elapsed();
  if (asked || start >= report_due_) {
    report_due_ = start + std::min(kReportInterval, config_.balance.interval);
    ExpertTotals totals = TotalsOf(meter_.tally, config_.model.layer_count);
    counted = totals.Since(reported_);
    reported_ = std::move(totals);
    const auto view = sessions_.View();
    gauge_.Look(meter_.tally, static_cast<size_t>(std::ranges::count_if(
                                  view->links, [](const auto& link) { return link.has_value(); })));
  }
  const CostModel costs = meter_.costs.Fit();
  std::optional<BalanceProblem> problem;
  BalanceOptions options;
  {
    absl::MutexLock lock(&mutex_);
    measured_ = gauge_.last();
    balance_seen_at_ = clock_.Elapsed();
    if (!counted.empty()) balancer_.Report(counted);
    std::vector<wire::ShardDescriptor> memory;
    problem = balancer_.DueProblem(published_.Read()->placement, RepairShards(memory), costs,
                                   Disturbed(), clock_.Elapsed());
    options = balancer_.options();
  }
  if (!problem) return;
  // Without the lock: for large clusters it takes up to a second.
  const absl::Duration began = clock_.Elapsed();
  BalancePlan plan = PlanBalance(*problem, options);
  balance_metrics_.plan_seconds.Set(absl::ToDoubleSeconds(clock_.Elapsed() - began));
  {
    absl::MutexLock lock(&mutex_);
    balancer_.Consider(std::move(plan), clock_.Elapsed());
    const BalanceLook& look = balancer_.last_look();
    if (look.verdict == BalanceVerdict::kMoving) {
      TESSERA_LOG(INFO) << "balance " << look.plan.before << ": " << look.plan.moves.size()
                        << " moves (" << look.plan.loads << " loads) should make it "
                        << look.plan.after;
    }
  }
  Wake();
}

bool ClusterBrain::Disturbed() const {
  return repair_.without_copy() > 0 || repair_.busy() || !drains_.empty();
}

std::vector<ShardOrder> ClusterBrain::Balance(absl::Duration now) {
  if (!leads() || balancer_.migration().idle()) return {};
  std::vector<wire::ShardDescriptor> memory;
  std::vector<RepairShard> shards = RepairShards(memory);
  for (RepairShard& shard : shards) shard.busy = repair_.WorksOn(shard.shard->shard);
  const bool quiet = ViewsQuiet(hidden_version_, hidden_at_, now);
  RepairActions actions =
      balancer_.Next(published_.Read()->placement, shards, quiet, Disturbed(), now);
  ApplyHides(actions, now);
  for (ShardOrder& order : actions.orders) order.balance = true;
  return std::move(actions.orders);
}

void ClusterBrain::SetBalanceMetrics(absl::Duration now) {
  const UnitMigration& migration = balancer_.migration();
  const size_t ended = migration.CountOf(UnitMigration::Stage::kDone) +
                       migration.CountOf(UnitMigration::Stage::kFailed);
  const BalanceLook& look = balancer_.last_look();
  balance_metrics_.planned_before.Set(look.plan.before);
  balance_metrics_.planned_after.Set(look.plan.after);
  balance_metrics_.window_ratio.Set(measured_.window);
  balance_metrics_.step_ratio.Set(measured_.step);
  balance_metrics_.touch_us.Set(look.costs.touch_us * 1e-6);
  balance_metrics_.row_us.Set(look.costs.row_us * 1e-6);
  balance_metrics_.pending.Set(static_cast<double>(migration.steps().size() - ended));
  balance_metrics_.pending_age.Set(
      absl::ToDoubleSeconds(now - migration.progress_at().value_or(now)));
  balance_metrics_.look_age.Set(absl::ToDoubleSeconds(now - balance_seen_at_));
  balance_metrics_.frozen.Set(balancer_.frozen() ? 1 : 0);
  const auto count_up = [](Counter& counter, double value) {
    if (value > counter.value()) counter.Increment(value - counter.value());
  };
  count_up(balance_metrics_.rounds, static_cast<double>(balancer_.rounds()));
  count_up(balance_metrics_.looks, static_cast<double>(balancer_.looks()));
  count_up(balance_metrics_.steps_done, static_cast<double>(balancer_.moves_ended()));
}

std::string ClusterBrain::BalanceReport() {
  absl::MutexLock lock(&mutex_);
  return BalanceJson(balancer_, measured_, clock_.Elapsed());
}

absl::Status ClusterBrain::FreezeBalance(bool frozen) {
  if (absl::Status leads = CheckLeads(); !leads.ok()) return leads;
  absl::MutexLock lock(&mutex_);
  if (frozen) {
    balancer_.Freeze();
  } else {
    balancer_.Thaw();
  }
  TESSERA_LOG(INFO) << "the balancer is " << (frozen ? "frozen" : "at work again");
  return absl::OkStatus();
}

absl::Status ClusterBrain::TriggerBalance(bool moves) {
  if (absl::Status leads = CheckLeads(); !leads.ok()) return leads;
  {
    absl::MutexLock lock(&mutex_);
    balancer_.Trigger(moves);
  }
  absl::MutexLock lock(&inbox_mutex_);
  look_wanted_ = true;
  return absl::OkStatus();
}

}  // namespace tessera::router
