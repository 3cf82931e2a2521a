#pragma once

// A router's cluster room and shards around it, all in one process.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/metrics/metrics.h"
#include "common/transport/exchange_client.h"
#include "services/router/cluster/cluster.h"
#include "tests/services/router/cluster/fake_shard.h"

namespace tessera::router {

constexpr absl::Duration kPatience = absl::Seconds(20);

// One router: exchange, cluster, server.
struct TestRouter {
  TestRouter(ClusterConfig config, const Clock& clock,
             const std::shared_ptr<LoopbackNetwork>& network,
             const std::string& listen = "127.0.0.1:0")
      : exchange(ExchangeConfig{}, clock, network->MakeTransport()) {
    auto started = Cluster::Start(std::move(config), exchange, clock, metrics);
    EXPECT_TRUE(started.ok()) << started.status();
    cluster = *std::move(started);
    auto serving =
        RpcServer::Start({.listen = listen, .stop_timeout = absl::Seconds(1)}, cluster->services());
    EXPECT_TRUE(serving.ok()) << serving.status();
    server = *std::move(serving);
  }
  ~TestRouter() { Stop(); }
  void Stop() {
    if (cluster != nullptr) cluster->Stop();
    if (server != nullptr) server->Stop();
  }
  std::shared_ptr<const ClusterView> View() { return cluster->directory().View(); }
  bool Linked(uint32_t shard) { return View()->LinkOf(ShardId{shard}) != nullptr; }
  size_t Copies(uint32_t layer, uint32_t expert) {
    return View()->placement.replicas(LayerIndex{layer}, ExpertId{expert}).size();
  }
  // Looks at each new view until `done`.
  template <typename Done>
  bool Await(Done done) {
    const RealClock clock;
    const absl::Duration deadline = clock.Elapsed() + kPatience;
    std::vector<ExchangeEvent> events;
    while (!done()) {
      if (clock.Elapsed() > deadline) return false;
      exchange.Wait(absl::Milliseconds(20), events);  // as a dispatcher would; views interrupt it
      events.clear();
    }
    return true;
  }

  Registry metrics;
  ExchangeClient exchange;
  std::unique_ptr<Cluster> cluster;
  std::unique_ptr<RpcServer> server;
};

class ClusterTest : public ::testing::Test {
 protected:
  static ClusterConfig Config() {
    return {.model = TestModel(),
            .moe_layers = TestMoeLayers(),
            .incarnation = 7,
            .secret = TestSecret(),
            .data_scheme = "loopback",
            .rows_max = 16,
            .heartbeat_interval = absl::Milliseconds(50),
            .lost_after = absl::Seconds(2)};
  }
  std::unique_ptr<TestRouter> MakeRouter(ClusterConfig config = Config(),
                                         const std::string& listen = "127.0.0.1:0") {
    return std::make_unique<TestRouter>(std::move(config), clock_, network_, listen);
  }
  std::unique_ptr<FakeShard> MakeShard(const FakeShardOptions& options) {
    return std::make_unique<FakeShard>(options, clock_, network_);
  }
  // A shard with half of the experts, joined.
  std::unique_ptr<FakeShard> JoinHalf(TestRouter& router, uint32_t id, uint64_t incarnation = 100,
                                      uint32_t slot_count = 8) {
    auto shard = MakeShard({.id = id,
                            .incarnation = incarnation,
                            .held = Slice(2 * id, 2 * id + 2),
                            .slot_count = slot_count});
    shard->Join(router.server->address());
    EXPECT_TRUE(shard->joined().ok()) << shard->joined();
    return shard;
  }
  static void ExpectCovered(TestRouter& router) {
    const absl::Status covered = router.cluster->WaitUntilCovered(kPatience);
    EXPECT_TRUE(covered.ok()) << covered;
  }

  const RealClock clock_;
  const std::shared_ptr<LoopbackNetwork> network_ = LoopbackNetwork::Create(clock_, /*seed=*/1);
};

}  // namespace tessera::router
