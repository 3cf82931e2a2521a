#include "services/router/cluster/cluster_brain.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/status.h"

namespace tessera::router {
namespace {

constexpr absl::Duration kRound = absl::Milliseconds(50);
// While nothing is repaired or drained: for links that broke while no step ran. What a step meets
// it tells itself, and silence has its own time. Each round and each heartbeat wakes an idle
// machine up, and wake-ups are what an idle cluster costs; so both are slower while nobody looks.
constexpr absl::Duration kWatchedRound = absl::Milliseconds(100);
constexpr absl::Duration kQuietRound = absl::Milliseconds(250);
constexpr absl::Duration kIdleHeartbeat = absl::Seconds(1);
constexpr absl::Duration kWatch = absl::Seconds(5);  // one look lasts
constexpr size_t kWishesMax = 4096;                  // a dispatcher repeats what was dropped
// A shard whose drain was refused asks again within it.
constexpr absl::Duration kDrainPauseMax = absl::Seconds(5);
constexpr uint64_t kMeasuredSteps = 1000;

double UnitsOf(const ShardOrder& order) {
  return static_cast<double>(order.order.load.size() + order.order.drop.size());
}

ShardRegistryConfig RegistryConfig(const ClusterConfig& c, const Clock& clock) {
  return {
      .model = c.model,
      .strict = c.strict,
      // Milliseconds, so that epochs rise over restarts of the router as well.
      .epoch_first = static_cast<uint64_t>(std::max<int64_t>(1, absl::ToUnixMillis(clock.Now()))),
      .lost_after = c.lost_after,
      .replaceable_after = std::min(c.lost_after, c.heartbeat_interval * 2.4)};
}

UnitRepairConfig RepairConfig(const ClusterConfig& c) {
  const bool leads = c.leader.empty();
  return {.moe_layers = c.moe_layers,
          .expert_count = c.model.expert_count,
          .copies_wanted = c.copies_wanted,
          .restore_lost = leads && c.restore_lost,
          .restore_thin = leads && c.restore_thin,
          .restore_thin_after = c.restore_thin_after,
          .restore_after = c.restore_after,
          // Shards ask a router that was away again after at most a second.
          .first_grace = 4 * c.heartbeat_interval,
          .background_bytes_per_second_max = c.restore_bytes_per_second_max,
          .surplus_grace = c.surplus_grace,
          .slots_from_top = !leads,
          .drops = leads,
          .adopts = !c.balance.moves};
}

BalancerConfig BalanceConfig(const ClusterConfig& c) {
  BalancerConfig balance = c.balance;
  balance.copies_min = c.copies_wanted;
  return balance;
}

ShardSessionsConfig SessionsConfig(const ClusterConfig& c) {
  ShardSessionsConfig sessions;
  const auto session = static_cast<uint32_t>(c.incarnation ^ (c.incarnation >> 32));
  sessions.offer = {.model = c.model,
                    .session = session == 0 ? 1 : session,
                    .credits = c.credits,
                    .rows_max = c.rows_max,
                    .dtype_up = c.dtype_up,
                    .dtype_down = c.dtype_down,
                    .strict = c.strict};
  sessions.incarnation = c.incarnation;
  sessions.data_scheme = c.data_scheme;
  sessions.secret = c.secret;
  sessions.tls = c.tls;
  return sessions;
}

}  // namespace

ClusterBrain::ClusterBrain(ClusterConfig config, ExchangeClient& exchange, const Clock& clock,
                           tessera::Registry& metrics)
    : config_(std::move(config)),
      exchange_(exchange),
      clock_(clock),
      metrics_(metrics),
      balance_metrics_(metrics),
      meter_(config_.moe_layers, config_.model.expert_count),
      service_({.secret = config_.secret}, *this, clock),
      published_(std::make_shared<const wire::PublishedPlacement>()),
      sessions_(SessionsConfig(config_), exchange, clock,
                {[this](ShardId shard, uint64_t incarnation) { OnConnected(shard, incarnation); },
                 [this](ShardId shard, uint64_t incarnation) {
                   metrics_.downs.Increment();
                   absl::MutexLock lock(&inbox_mutex_);
                   suspects_.emplace_back(shard, incarnation);
                   woken_ = true;
                 },
                 [this](ShardId shard, uint64_t incarnation, const absl::Status&, bool gone) {
                   OnUnreachable(shard, incarnation, gone);
                 }}),
      gauge_(kMeasuredSteps),
      registry_(RegistryConfig(config_, clock)),
      repair_(RepairConfig(config_)),
      balancer_(BalanceConfig(config_), {config_.model.layer_count, config_.model.expert_count},
                config_.moe_layers),
      drain_watch_(config_.drain_timeout + kDrainPauseMax),
      followed_(std::make_shared<const wire::PublishedPlacement>()),
      looked_at_ns_(absl::ToInt64Nanoseconds(clock.Elapsed() - kWatch)) {}

void ClusterBrain::Start() {
  {
    absl::MutexLock lock(&mutex_);
    if (leads()) PublishIfChanged();
  }
  if (!leads()) {
    follower_ = std::make_unique<PlacementFollower>(
        PlacementFollowerConfig{.leader = config_.leader,
                                .secret = config_.secret,
                                .tls = config_.tls,
                                .seed = config_.incarnation},
        [this](std::shared_ptr<const wire::PublishedPlacement> p) {
          OnLeaderPlacement(std::move(p));
        });
  }
  if (!leads()) {
    reporter_ = std::make_unique<RoutingReporter>(config_.leader, config_.secret, config_.tls);
  }
  thread_ = Thread("cluster", [this](std::stop_token) { Run(); });
  balance_thread_ = Thread("balance", [this](std::stop_token) { RunBalance(); });
}

void ClusterBrain::Stop() {
  {
    absl::MutexLock lock(&inbox_mutex_);
    stopping_ = true;
  }
  thread_.Stop();
  if (reporter_ != nullptr) reporter_->Cancel();
  balance_thread_.Stop();
  service_.EndWatches();
  if (follower_ != nullptr) follower_->Stop();
  sessions_.Stop();
  std::vector<Draining> drains;
  {
    absl::MutexLock lock(&mutex_);
    drains.swap(drains_);
  }
  for (const Draining& drain : drains) {
    for (const DrainDone& done : drain.done) done(absl::UnavailableError("the router stops"));
  }
}

void ClusterBrain::Run() {
  for (;;) {
    {
      absl::MutexLock lock(&inbox_mutex_);
      const auto due = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(inbox_mutex_) {
        return woken_ || stopping_;
      };
      inbox_mutex_.AwaitWithTimeout(absl::Condition(&due), pause_);
      if (stopping_) return;
      woken_ = false;
    }
    Step();
  }
}

void ClusterBrain::Wake() {
  absl::MutexLock lock(&inbox_mutex_);
  woken_ = true;
}

absl::Duration ClusterBrain::RoundPause(absl::Duration now) const {
  if (!repair_.idle() || !balancer_.migration().idle() || !drains_.empty()) return kRound;
  const absl::Duration pause = IsWatched(now) ? kWatchedRound : kQuietRound;
  if (!leads()) return pause;
  return std::clamp(registry_.SilentAt() - now, absl::Milliseconds(1), pause);
}

bool ClusterBrain::IsWatched(absl::Duration now) const {
  return now - absl::Nanoseconds(looked_at_ns_.load()) < kWatch;
}

void ClusterBrain::Step() {
  sessions_.CheckLinks();
  std::vector<Wish> wishes;
  {
    absl::MutexLock lock(&inbox_mutex_);
    wishes.swap(wishes_);
  }
  std::vector<ShardOrder> orders;
  Answers answers;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = clock_.Elapsed();
    TakeSuspects();
    if (leads()) {
      for (const ShardId shard : registry_.Tick(now)) {
        metrics_.lost.Increment();
        TESSERA_LOG(WARNING) << "shard " << ToIndex(shard) << " silent for "
                             << absl::FormatDuration(config_.lost_after)
                             << "; it leaves the map until it registers again";
      }
      PublishIfChanged();
    }
    for (const Wish& wish : wishes) repair_.Want(wish.layer, wish.experts, wish.unfit, now);
    orders = Repair(now);
    std::ranges::move(Balance(now), std::back_inserter(orders));
    AdvanceDrains(now, answers);
    SetMetrics(now);
    UpdateRoster(now);
    pause_ = RoundPause(now);
  }
  round_at_ns_.store(absl::ToInt64Nanoseconds(clock_.Elapsed()));
  for (ShardOrder& order : orders) {
    metrics_.moves_pending.Add(UnitsOf(order));
    const absl::Duration began = clock_.Elapsed();
    LoadOrder load = order.order;
    const ShardId shard = order.shard;
    const uint64_t incarnation = order.incarnation;
    sessions_.Load(
        shard, incarnation, std::move(load),
        [this, order = std::move(order), began](const absl::StatusOr<LoadOutcome>& outcome) {
          OnOrderDone(order, began, outcome);
        });
  }
  for (const auto& [done, epoch] : answers) done(epoch);
}

void ClusterBrain::TakeSuspects() {
  absl::MutexLock lock(&inbox_mutex_);
  for (const auto& [shard, incarnation] : suspects_) registry_.Suspect(shard, incarnation);
  suspects_.clear();
}

// ---- shards, from gRPC's threads

absl::Status ClusterBrain::CheckLeads() const {
  if (leads()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("this router follows; the leader is at ", config_.leader));
}

absl::StatusOr<ClusterControl::Registration> ClusterBrain::Register(
    const wire::ModelIdentity& model, wire::ShardDescriptor shard, uint64_t sequence) {
  const ShardId id = shard.shard;
  const std::string address = shard.grpc_address;
  absl::MutexLock lock(&mutex_);
  TakeSuspects();
  TESSERA_ASSIGN_OR_RETURN(const Epoch epoch,
                           registry_.Register(model, std::move(shard), clock_.Elapsed(), sequence));
  PublishIfChanged();
  TESSERA_LOG(INFO) << "shard " << ToIndex(id) << " at " << address << " registered, epoch "
                    << static_cast<uint64_t>(epoch);
  Wake();
  return Registration{epoch, config_.heartbeat_interval};
}

absl::StatusOr<HeartbeatAnswer> ClusterBrain::Heartbeat(ShardHeartbeat heartbeat) {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_.Elapsed();
  const absl::Duration pause =
      IsWatched(now) ? absl::ZeroDuration()
                     : std::clamp(kIdleHeartbeat - config_.heartbeat_interval, absl::ZeroDuration(),
                                  3 * config_.heartbeat_interval);
  TESSERA_ASSIGN_OR_RETURN(const HeartbeatAnswer answer,
                           registry_.Heartbeat(std::move(heartbeat), now, pause));
  PublishIfChanged();
  return answer;
}

void ClusterBrain::Drain(ShardId shard, uint64_t incarnation, DrainDone done) {
  absl::Status refused;
  {
    absl::MutexLock lock(&mutex_);
    const wire::ShardDescriptor* found = registry_.Find(shard);
    absl::MutexLock inbox_lock(&inbox_mutex_);
    if (stopping_) {
      refused = absl::UnavailableError("the router stops");
    } else if (found == nullptr || (incarnation != 0 && found->incarnation != incarnation)) {
      refused = absl::NotFoundError(absl::StrCat("shard ", ToIndex(shard), " of incarnation ",
                                                 incarnation, " is not registered here"));
    } else {
      drain_watch_.Asked(shard, found->incarnation, clock_.Elapsed());
      const auto it = std::find_if(drains_.begin(), drains_.end(), [&](const Draining& d) {
        return d.shard == shard && d.incarnation == found->incarnation;
      });
      if (it != drains_.end()) {
        it->done.push_back(std::move(done));
      } else {
        drains_.push_back({.shard = shard,
                           .incarnation = found->incarnation,
                           .began = clock_.Elapsed(),
                           .deadline = DrainDeadline(shard, clock_.Elapsed()),
                           .done = {std::move(done)}});
        TESSERA_LOG(INFO) << "shard " << ToIndex(shard) << " drains";
      }
      woken_ = true;
    }
  }
  if (!refused.ok()) done(refused);
}

// ---- links, from the sessions' threads and the engine's

void ClusterBrain::ReportDown(PeerId peer, const absl::Status& why) {
  sessions_.ReportDown(peer, why);
}

void ClusterBrain::RequestUnits(LayerIndex layer, std::span<const ExpertId> experts,
                                std::span<const ShardId> unfit) {
  absl::MutexLock lock(&inbox_mutex_);
  if (wishes_.size() >= kWishesMax) return;
  wishes_.push_back({layer, {experts.begin(), experts.end()}, {unfit.begin(), unfit.end()}});
  woken_ = true;
}

void ClusterBrain::OnConnected(ShardId shard, uint64_t incarnation) {
  metrics_.connects.Increment();
  absl::MutexLock lock(&mutex_);
  connected_[shard] = incarnation;
  absl::MutexLock inbox_lock(&inbox_mutex_);
  woken_ = shard_came_ = true;
}

void ClusterBrain::OnUnreachable(ShardId shard, uint64_t incarnation, bool process_gone) {
  absl::MutexLock lock(&mutex_);
  const auto it = connected_.find(shard);
  // One that was never reached may have given a wrong address: its heartbeats keep it in the map.
  if (!leads() || !process_gone || it == connected_.end() || it->second != incarnation) return;
  connected_.erase(it);
  if (!registry_.Lost(shard, incarnation)) return;
  metrics_.lost.Increment();
  TESSERA_LOG(WARNING) << "shard " << ToIndex(shard) << " is gone; it leaves the map";
  PublishIfChanged();
  Wake();
}

void ClusterBrain::OnOrderDone(const ShardOrder& order, absl::Duration began,
                               const absl::StatusOr<LoadOutcome>& outcome) {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_.Elapsed();
  absl::Status status = outcome.status();
  if (status.ok() && leads()) {
    status =
        registry_.SetHeld(order.shard, order.incarnation, outcome->held_version, outcome->held);
    PublishIfChanged();
  } else if (status.ok()) {
    status = overlay_.Learn(*followed_, order.shard, order.incarnation, outcome->held_version,
                            outcome->held);
    PublishOverlaid();
  }
  metrics_.moves_pending.Add(-UnitsOf(order));
  if (order.balance) {
    for (const UnitToLoad& unit : order.order.load) {
      if (status.ok()) repair_.Keep(order.shard, order.incarnation, {unit.layer, unit.expert});
    }
    balancer_.Finished(order.shard, status, now);
  } else {
    repair_.Finished(order.shard, status, now);
  }
  if (status.ok()) {
    metrics_.loads.Increment(static_cast<double>(order.order.load.size()));
    metrics_.drops.Increment(static_cast<double>(order.order.drop.size()));
    metrics_.load_bytes.Increment(static_cast<double>(outcome->read_bytes));
    metrics_.load_seconds.Observe(absl::ToDoubleSeconds(now - began));
  } else {
    metrics_.load_failures.Increment();
    TESSERA_LOG(WARNING) << "shard " << ToIndex(order.shard) << " did not load "
                         << order.order.load.size() << " experts and drop "
                         << order.order.drop.size() << ": " << status.ToString()
                         << "; what is missing is asked for again";
  }
  Wake();
}

}  // namespace tessera::router
