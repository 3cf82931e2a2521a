#pragma once

// Routers and expert shards in one process, for tests of what a cluster survives.
//
//   auto cluster = TestCluster::Start(golden.model_dir, {.shard_count = 2, .replicas = 2});
//   auto reader = (*cluster)->router().Submit(GreedyRequest("a", {1, 2, 3}, 24));
//   (*cluster)->network().Inject({.kind = FaultKind::kKill, .listener = ShardFleet::NameOf(0)});

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/metrics/metrics.h"
#include "common/rpc/server.h"
#include "common/transport/exchange_client.h"
#include "common/transport/transport_loopback.h"
#include "services/router/assembly/router_rooms.h"
#include "services/router/cluster/cluster.h"
#include "services/router/dispatch/dispatcher.h"
#include "services/router/loop/engine_loop.h"
#include "tests/support/router_under_test.h"
#include "tests/support/shard_fleet.h"

namespace tessera::testing {

struct TestRouterOptions {
  std::string listen = "127.0.0.1:0";    // its gRPC
  std::string leader;                    // of another router; empty: it leads
  std::string data_scheme = "loopback";  // as ShardFleetOptions'
  std::string precision = "float32";
  std::string cluster_secret_file;
  router::BalancerConfig balance = {.moves = false};
  router::DispatchConfig dispatch;  // strict counts for the sessions with shards as well
  ExchangeConfig exchange;
  // Not null: takes what the engine produces, and the test calls Step; no thread, no Submit.
  router::TokenSink* sink = nullptr;
};

// A router from its rooms, as RouterServer puts them together. Thread-safe; with a sink owned by
// the thread that steps it.
class TestRouter {
 public:
  // `clock` outlives it; `network` is for the loopback.
  static absl::StatusOr<std::unique_ptr<TestRouter>> Start(
      const std::string& model_dir, const TestRouterOptions& options, const Clock& clock,
      const std::shared_ptr<LoopbackNetwork>& network);
  ~TestRouter() { Stop(); }

  // Fails the test if it is refused.
  std::shared_ptr<EventReader> Submit(wire::GenerationParams params);
  // Running requests end kUnavailable.
  void Stop();

  std::string address() const { return rpc_->address(); }
  router::Cluster& cluster() { return *cluster_; }
  bool Linked(uint32_t shard) const;
  // Sum over the series of a metric, or the one of a shard.
  double Total(const std::string& metric) const;
  double OfShard(const std::string& metric, uint32_t shard) const;

  // With a sink.
  router::Scheduler& scheduler() { return rooms_->scheduler(); }
  absl::Status Step() { return rooms_->engine().Step(); }

 private:
  explicit TestRouter(const Clock& clock) : clock_(clock) {}
  absl::Status JoinCluster(const TestRouterOptions& options,
                           const std::shared_ptr<LoopbackNetwork>& network);
  absl::Status BuildEngine(const TestRouterOptions& options);

  const Clock& clock_;
  Registry registry_;
  router::DispatchConfig dispatch_;
  std::unique_ptr<router::RouterModel> model_;
  router::KvPlan kv_;
  std::unique_ptr<ExchangeClient> exchange_;
  std::unique_ptr<router::Cluster> cluster_;
  std::unique_ptr<router::Dispatcher> dispatcher_;
  router::LoadBoard board_;
  router::RequestBook book_{{}, clock_};
  std::unique_ptr<router::RouterRooms> rooms_;
  std::unique_ptr<router::EngineLoop> loop_;
  std::unique_ptr<RpcServer> rpc_;
};

struct TestClusterOptions {
  uint32_t shard_count = 2;
  uint32_t replicas = 1;
  int32_t slots_spare = -1;
  std::map<size_t, std::string> model_dirs;  // of shards that read a copy of their own
  TestRouterOptions router;
};

// One router and its shards, on the real clock.
class TestCluster {
 public:
  // Returns when every expert can be called.
  static absl::StatusOr<std::unique_ptr<TestCluster>> Start(const std::string& model_dir,
                                                            const TestClusterOptions& options);

  // Ends the router and starts another one at its address. Shards are left alone.
  absl::Status RestartRouter();
  // Another router that follows this cluster's, with its own sessions to the same shards; `options`
  // but for listen, leader and transport. Ends before the cluster does.
  absl::StatusOr<std::unique_ptr<TestRouter>> StartFollower(TestRouterOptions options);
  // Waits for a link to that shard.
  bool AwaitLinked(uint32_t shard) const;

  TestRouter& router() { return *router_; }
  ShardFleet& fleet() { return *fleet_; }
  LoopbackNetwork& network() { return *network_; }

 private:
  TestCluster(std::string model_dir, const TestClusterOptions& options)
      : model_dir_(std::move(model_dir)), options_(options) {}
  absl::Status StartAll();

  const RealClock clock_;
  const std::string model_dir_;
  const TestClusterOptions options_;
  const std::shared_ptr<LoopbackNetwork> network_ = LoopbackNetwork::Create(clock_, /*seed=*/1);
  std::unique_ptr<ShardFleet> fleet_;
  std::unique_ptr<TestRouter> router_;  // ends first
};

}  // namespace tessera::testing
