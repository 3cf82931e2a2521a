#pragma once

// What stands behind Cluster: joins registry, sessions, repair, service and follower.
// Lock order: mutex_, then inbox_mutex_, the service's or the sessions'.

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/concurrency/snapshot.h"
#include "common/concurrency/thread.h"
#include "common/metrics/metrics.h"
#include "services/router/balance/expert_meter.h"
#include "services/router/balance/measured_balance.h"
#include "services/router/cluster/balance_metrics.h"
#include "services/router/cluster/balancer.h"
#include "services/router/cluster/cluster.h"
#include "services/router/cluster/cluster_metrics.h"
#include "services/router/cluster/cluster_service.h"
#include "services/router/cluster/drain_watch.h"
#include "services/router/cluster/placement_follower.h"
#include "services/router/cluster/placement_overlay.h"
#include "services/router/cluster/routing_reporter.h"
#include "services/router/cluster/shard_directory.h"
#include "services/router/cluster/shard_registry.h"
#include "services/router/cluster/shard_roster.h"
#include "services/router/cluster/shard_sessions.h"
#include "services/router/cluster/unit_repair.h"

namespace tessera::router {

// Thread-safe.
class ClusterBrain : public ShardDirectory, private ClusterControl {
 public:
  ClusterBrain(ClusterConfig config, ExchangeClient& exchange, const Clock& clock,
               tessera::Registry& metrics);
  ~ClusterBrain() override { Stop(); }

  void Start();
  void Stop();
  NamedService named_service() { return service_.named(); }
  absl::Status Coverage() const;
  absl::Status WaitUntilCovered(absl::Duration timeout) const;
  bool AwaitViewAfter(uint64_t version, absl::Duration timeout) const {
    return sessions_.AwaitViewAfter(version, timeout);
  }
  std::vector<wire::ShardActivity> ShardActivities();
  void RefreshMetrics();
  ExpertMeter& meter() { return meter_; }
  std::string BalanceReport();
  absl::Status FreezeBalance(bool frozen);
  absl::Status TriggerBalance(bool moves);

  // ShardDirectory
  std::shared_ptr<const ClusterView> View() const override { return sessions_.View(); }
  void ReportDown(PeerId peer, const absl::Status& why) override;
  void RequestUnits(LayerIndex layer, std::span<const ExpertId> experts,
                    std::span<const ShardId> unfit) override;

 private:
  using DrainDone = std::function<void(const absl::StatusOr<Epoch>&)>;
  struct Draining {
    ShardId shard{};
    uint64_t incarnation = 0;
    absl::Duration began;
    absl::Duration deadline;
    std::vector<DrainDone> done;
    bool evacuated = false;  // its epoch is out
    Epoch epoch{};           // the first without it
    uint64_t view_version = 0;
    absl::Duration published_at;
  };
  // Of a step that waits.
  struct Wish {
    LayerIndex layer{};
    std::vector<ExpertId> experts;
    std::vector<ShardId> unfit;
  };
  using Answers = std::vector<std::pair<DrainDone, absl::StatusOr<Epoch>>>;

  // ClusterControl
  absl::Status CheckLeads() const override;
  absl::StatusOr<Registration> Register(const wire::ModelIdentity& model,
                                        wire::ShardDescriptor shard, uint64_t sequence) override;
  absl::StatusOr<HeartbeatAnswer> Heartbeat(ShardHeartbeat heartbeat) override;
  void Drain(ShardId shard, uint64_t incarnation, DrainDone done) override;
  std::shared_ptr<const wire::PublishedPlacement> Published() const override {
    return published_.Read();
  }
  absl::Status ReportRouting(const std::vector<RoutedLayer>& layers) override;

  bool leads() const { return config_.leader.empty(); }
  void Run();
  // One round: silence, links, repair, drains, metrics.
  void Step();
  // Somebody looked at the shards lately.
  bool IsWatched(absl::Duration now) const;
  // Until the next one, if nothing wakes the thread before.
  absl::Duration RoundPause(absl::Duration now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Wake();
  void OnConnected(ShardId shard, uint64_t incarnation);
  void OnUnreachable(ShardId shard, uint64_t incarnation, bool process_gone);
  void OnLeaderPlacement(std::shared_ptr<const wire::PublishedPlacement> published);
  void OnOrderDone(const ShardOrder& order, absl::Duration began,
                   const absl::StatusOr<LoadOutcome>& outcome);

  void PublishIfChanged() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PublishOverlaid() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<RepairShard> RepairShards(std::vector<wire::ShardDescriptor>& memory)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Orders to give without the lock.
  std::vector<ShardOrder> Repair(absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Duration DrainDeadline(ShardId shard, absl::Duration now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AdvanceDrains(absl::Duration now, Answers& answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Nothing: goes on.
  std::optional<absl::StatusOr<Epoch>> AdvanceDrain(Draining& drain, absl::Duration now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes copies out of the map and puts them back.
  void ApplyHides(const RepairActions& actions, absl::Duration now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The balancer's thread; cluster_balance.cc.
  void RunBalance();
  void TellLeader();
  void LookAtBalance(bool asked);
  // Until the counters are to be read; shorter while a look is near or something moves.
  absl::Duration BalancePause();
  // Whether copies that left the map with view `version` are used by no step any more.
  bool ViewsQuiet(uint64_t version, absl::Duration since, absl::Duration now);
  bool Disturbed() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<ShardOrder> Balance(absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetBalanceMetrics(absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What the inbox has for the registry.
  void TakeSuspects() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetMetrics(absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UpdateRoster(absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const ClusterConfig config_;  // constant after construction
  ExchangeClient& exchange_;
  const Clock& clock_;
  ClusterMetrics metrics_;
  BalanceMetrics balance_metrics_;
  ExpertMeter meter_;
  ClusterService service_;
  Snapshot<wire::PublishedPlacement> published_;
  ShardSessions sessions_;
  std::unique_ptr<PlacementFollower> follower_;
  std::unique_ptr<RoutingReporter> reporter_;  // of a follower
  Thread thread_;
  Thread balance_thread_;
  ExpertTotals reported_;      // owned by the balance thread, as the next two
  absl::Duration report_due_;  // the counters are read then
  BalanceGauge gauge_;

  mutable absl::Mutex mutex_;
  ShardRegistry registry_ ABSL_GUARDED_BY(mutex_);
  UnitRepair repair_ ABSL_GUARDED_BY(mutex_);
  ShardRoster roster_ ABSL_GUARDED_BY(mutex_);
  Balancer balancer_ ABSL_GUARDED_BY(mutex_);
  MeasuredBalance measured_ ABSL_GUARDED_BY(mutex_);
  absl::Duration balance_seen_at_ ABSL_GUARDED_BY(mutex_);
  std::vector<Draining> drains_ ABSL_GUARDED_BY(mutex_);
  DrainWatch drain_watch_ ABSL_GUARDED_BY(mutex_);
  std::map<ShardId, uint64_t> connected_ ABSL_GUARDED_BY(mutex_);  // incarnations once linked
  uint64_t repaired_version_ ABSL_GUARDED_BY(mutex_) = 0;          // view that repair saw last
  uint64_t hidden_version_ ABSL_GUARDED_BY(mutex_) = 0;  // view without the last hidden copies
  absl::Duration hidden_at_ ABSL_GUARDED_BY(mutex_);     // when they were hidden
  std::shared_ptr<const wire::PublishedPlacement> followed_ ABSL_GUARDED_BY(mutex_);
  PlacementOverlay overlay_ ABSL_GUARDED_BY(mutex_);

  absl::Duration pause_;                 // before the next round; the thread's
  std::atomic<int64_t> round_at_ns_{0};  // Clock::Elapsed() at the end of the last round; 0: none
  std::atomic<int64_t> looked_at_ns_;    // at the last ShardActivities

  // What wakes the thread; apart, so that the engine never waits for a round.
  absl::Mutex inbox_mutex_;
  std::vector<Wish> wishes_ ABSL_GUARDED_BY(inbox_mutex_);
  std::vector<std::pair<ShardId, uint64_t>> suspects_ ABSL_GUARDED_BY(inbox_mutex_);
  bool woken_ ABSL_GUARDED_BY(inbox_mutex_) = false;
  bool look_wanted_ ABSL_GUARDED_BY(inbox_mutex_) = false;
  bool shard_came_ ABSL_GUARDED_BY(inbox_mutex_) = false;  // for the balancer
  bool stopping_ ABSL_GUARDED_BY(inbox_mutex_) = false;
};

}  // namespace tessera::router
