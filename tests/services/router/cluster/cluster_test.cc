#include "services/router/cluster/cluster.h"

#include "absl/strings/match.h"
#include "common/moe/dispatch_plan.h"
#include "common/tensor/matrix.h"
#include "common/wire/call_wire.h"
#include "services/router/cluster/shard_calls.h"
#include "tests/services/router/cluster/cluster_fixture.h"

namespace tessera::router {
namespace {

using ::testing::HasSubstr;

TEST_F(ClusterTest, ShardsThatRegisterAreLinked) {
  const auto router = MakeRouter();
  EXPECT_EQ(router->cluster->Coverage().code(), absl::StatusCode::kUnavailable);
  const auto first = JoinHalf(*router, 0);
  const absl::Status half = router->cluster->WaitUntilCovered(absl::Milliseconds(1));
  EXPECT_EQ(half.code(), absl::StatusCode::kUnavailable);
  const auto second = JoinHalf(*router, 1);
  ExpectCovered(*router);
  const auto view = router->View();
  const ShardLink* link = view->LinkOf(ShardId{1});
  ASSERT_NE(link, nullptr);
  EXPECT_EQ(link->incarnation, 100u);
  EXPECT_EQ(link->geometry.rows_max, 16u);
  EXPECT_EQ(link->geometry.pairs_max, 32u);
  EXPECT_EQ(link->geometry.d_model, 64u);
  EXPECT_EQ(view->LinkOf(ShardId{2}), nullptr);
  EXPECT_TRUE(router->Await([&] {
    return absl::StrContains(router->metrics.Text(), "tessera_router_shard_connects_total 2");
  }));
}

TEST_F(ClusterTest, AReportedLinkLeavesTheViewAtOnceAndComesBack) {
  const auto router = MakeRouter();
  const auto first = JoinHalf(*router, 0);
  const auto second = JoinHalf(*router, 1);
  ExpectCovered(*router);
  const auto before = router->View();
  const PeerId peer = before->LinkOf(ShardId{0})->peer;
  router->cluster->directory().ReportDown(peer, absl::UnavailableError("test"));
  const auto after = router->View();
  EXPECT_TRUE(after->LinkOf(ShardId{0}) == nullptr || after->LinkOf(ShardId{0})->peer != peer);
  EXPECT_NE(after->LinkOf(ShardId{1}), nullptr);
  EXPECT_GT(after->version, before->version);
  EXPECT_EQ(after->placement.epoch(), before->placement.epoch()) << "a link is not the map";
  ASSERT_TRUE(router->Await([&] { return router->Linked(0); }));
  EXPECT_NE(router->View()->LinkOf(ShardId{0})->peer, peer);
  router->cluster->directory().ReportDown(peer, absl::UnavailableError("late"));
  EXPECT_TRUE(router->Linked(0)) << "a report of an older link changes nothing";
}

TEST_F(ClusterTest, SurvivorsLoadExactlyWhatAStepWaitsFor) {
  ClusterConfig config = Config();
  config.restore_lost = false;
  const auto router = MakeRouter(config);
  const auto first = JoinHalf(*router, 0);
  auto second = JoinHalf(*router, 1);
  ExpectCovered(*router);
  second->Kill();
  ASSERT_TRUE(router->Await([&] { return !router->Linked(1); }));
  EXPECT_EQ(router->cluster->Coverage().code(), absl::StatusCode::kUnavailable);
  const std::vector<ExpertId> wanted = {ExpertId{3}};
  for (int i = 0; i < 3; ++i) router->cluster->directory().RequestUnits(LayerIndex{2}, wanted, {});
  ASSERT_TRUE(router->Await([&] {
    const auto replicas = router->View()->placement.replicas(LayerIndex{2}, ExpertId{3});
    return replicas.size() == 1 && replicas[0].shard == ShardId{0};
  }));
  EXPECT_EQ(first->held().size(), 5u);
  EXPECT_EQ(first->loads, 1);
  EXPECT_EQ(router->Copies(1, 3), 0u) << "nobody asked for it";
}

TEST_F(ClusterTest, WhatIsLostIsRestoredInTheBackgroundAndLetGoWhenTheShardReturns) {
  ClusterConfig config = Config();
  config.restore_after = absl::Milliseconds(20);
  config.surplus_grace = absl::ZeroDuration();
  const auto router = MakeRouter(config);
  const auto first = JoinHalf(*router, 0);
  auto second = JoinHalf(*router, 1);
  ExpectCovered(*router);
  second->Kill();
  ASSERT_TRUE(router->Await([&] { return !router->Linked(1); }));
  ExpectCovered(*router);
  EXPECT_EQ(first->held().size(), 8u);
  second = JoinHalf(*router, 1, /*incarnation=*/101);
  ASSERT_TRUE(second->joined().ok()) << second->joined();
  ASSERT_TRUE(router->Await([&] { return first->held().size() == 4; }));
  ExpectCovered(*router);
  EXPECT_EQ(router->View()->LinkOf(ShardId{1})->incarnation, 101u);
  EXPECT_TRUE(router->Await([&] {
    return !absl::StrContains(router->metrics.Text(), "tessera_router_unit_drops_total 0");
  }));
}

TEST_F(ClusterTest, AnOrderThatKeepsAPaceIsGivenTheTimeThatTakes) {
  wire::ModelIdentity large = TestModel();
  large.d_model = large.expert_width = 3072;
  const double seconds = absl::ToDoubleSeconds(ReadTimeMax(4, large, 1'000'000));
  EXPECT_NEAR(seconds, 2 * 4 * 56.6, 1);
  EXPECT_NEAR(absl::ToDoubleSeconds(ReadTimeMax(64, large, 0)), 108, 1);
  EXPECT_EQ(ReadTimeMax(64, large, 0), ReadTimeMax(64, large, 1u << 30));
  ClusterConfig config = Config();
  config.restore_after = absl::ZeroDuration();
  config.restore_bytes_per_second_max = 64;  // a unit's 6 KiB take 96 s
  const auto router = MakeRouter(config);
  const auto first = JoinHalf(*router, 0);
  auto second = JoinHalf(*router, 1);
  ExpectCovered(*router);
  second->Kill();
  ASSERT_TRUE(router->Await([&] { return first->held().size() == 8; }));
  EXPECT_GT(first->patience_ms, 60'000 + 96'000);
}

TEST_F(ClusterTest, ADrainOutlastsOrdersThatKeepAPace) {
  ClusterConfig config = Config();
  config.restore_bytes_per_second_max = 64;
  config.drain_timeout = absl::Microseconds(1);
  const auto router = MakeRouter(config);
  const auto first = JoinHalf(*router, 0);
  const auto second = JoinHalf(*router, 1);
  ExpectCovered(*router);
  const auto drained = second->Drain();
  EXPECT_TRUE(drained.ok()) << drained.status();
  EXPECT_EQ(first->held().size(), 8u);
}

TEST_F(ClusterTest, AnOrderThatFailsIsGivenAgain) {
  ClusterConfig config = Config();
  config.restore_after = absl::ZeroDuration();
  const auto router = MakeRouter(config);
  const auto first = JoinHalf(*router, 0);
  first->FailLoads(absl::NotFoundError("no source has it"));
  auto second = JoinHalf(*router, 1);
  ExpectCovered(*router);
  second->Kill();
  ASSERT_TRUE(router->Await([&] {
    return router->metrics.Text().find("tessera_router_unit_load_failures_total 0") ==
           std::string::npos;
  }));
  ASSERT_TRUE(router->Await([&] { return !router->Linked(1); }));
  EXPECT_FALSE(router->cluster->Coverage().ok());
  first->FailLoads(absl::OkStatus());
  ExpectCovered(*router);
}

TEST_F(ClusterTest, WithAnotherCopyNothingIsLoaded) {
  ClusterConfig config = Config();
  config.restore_after = absl::ZeroDuration();
  config.copies_wanted = 2;
  const auto router = MakeRouter(config);
  auto first = MakeShard({.id = 0, .held = Slice(0, 4), .slot_count = 16});
  auto second = MakeShard({.id = 1, .held = Slice(0, 4), .slot_count = 16});
  auto third = MakeShard({.id = 2, .slot_count = 16});
  for (FakeShard* shard : {first.get(), second.get(), third.get()}) {
    shard->Join(router->server->address());
    ASSERT_TRUE(shard->joined().ok()) << shard->joined();
    // One after the other, so that the empty one never stands alone.
    const uint32_t id = shard == first.get() ? 0 : shard == second.get() ? 1 : 2;
    ASSERT_TRUE(router->Await([&] { return router->Linked(id); }));
  }
  ExpectCovered(*router);
  first->Kill();
  ASSERT_TRUE(router->Await([&] { return router->View()->placement.shards().size() == 1; }));
  EXPECT_TRUE(router->cluster->Coverage().ok());
  EXPECT_EQ(second->loads + third->loads, 0);
}

TEST_F(ClusterTest, ADrainedShardLeavesAfterItsUnitsHaveCopies) {
  const auto router = MakeRouter();
  const auto first = JoinHalf(*router, 0);
  const auto second = JoinHalf(*router, 1);
  ExpectCovered(*router);
  // Whoever watches never sees a map with a hole.
  ClusterClient watcher(router->server->address(), TestSecret());
  grpc::ClientContext context;
  SetTimeout(context, kPatience);
  v1::WatchPlacementRequest request;
  ASSERT_TRUE(watcher.AddProof(*request.mutable_proof()).ok());
  const auto stream = watcher.stub().WatchPlacement(&context, request);
  absl::StatusOr<uint64_t> drained = absl::UnknownError("not yet");
  Thread draining("drain", [&](std::stop_token) { drained = second->Drain(); });
  v1::PlacementUpdate update;
  bool left = false;
  while (!left && stream->Read(&update)) {
    const auto seen = wire::ToPublishedPlacement(update.placement());
    ASSERT_TRUE(seen.ok()) << seen.status();
    for (const LayerIndex layer : TestMoeLayers()) EXPECT_GE(seen->placement.CopiesMin(layer), 1u);
    left = seen->placement.shards().size() == 1;
  }
  context.TryCancel();
  draining.Join();
  ASSERT_TRUE(drained.ok()) << drained.status();
  EXPECT_TRUE(left);
  EXPECT_GE(update.placement().epoch(), *drained);
  EXPECT_EQ(first->held().size(), 8u);
  EXPECT_TRUE(router->cluster->Coverage().ok());
  second->Kill();
  ASSERT_TRUE(router->Await([&] { return !router->Linked(1); }));
  EXPECT_THAT(router->metrics.Text(), HasSubstr("tessera_router_drains_unfinished_total 0\n"));
}

TEST_F(ClusterTest, ADrainWaitsForTheCallsUnderWay) {
  const auto router = MakeRouter();
  const auto first = JoinHalf(*router, 0);
  const auto second = JoinHalf(*router, 1);
  ExpectCovered(*router);
  const PeerId peer = router->View()->LinkOf(ShardId{1})->peer;
  const auto slot = router->exchange.Acquire(peer);
  ASSERT_TRUE(slot.ok());
  ShardPlan plan;  // one row to expert 2
  plan.segments = {{ExpertId{2}, 0, 1, 1}};
  plan.rows = {0};
  plan.pair_rows = {0};
  plan.pair_weights = {1.0f};
  const Matrix row(1, TestModel().d_model);
  const auto header = wire::WriteCall(router->View()->LinkOf(ShardId{1})->geometry,
                                      {.layer = LayerIndex{1}}, plan, row.view(), slot->frame);
  ASSERT_TRUE(header.ok()) << header.status();
  ASSERT_TRUE(router->exchange.Post(*slot, *header).ok());
  absl::Notification drained;
  absl::StatusOr<uint64_t> epoch = absl::UnknownError("not yet");
  Thread draining("drain", [&](std::stop_token) {
    epoch = second->Drain();
    drained.Notify();
  });
  ASSERT_TRUE(router->Await([&] { return router->View()->placement.shards().size() == 1; }));
  EXPECT_FALSE(drained.WaitForNotificationWithTimeout(absl::Milliseconds(500)));
  std::vector<IncomingCall> calls;
  ASSERT_EQ(second->exchange().Wait(kPatience, calls), 1u);
  second->exchange().Nack(std::move(calls[0]), wire::NackReason::kDraining, Epoch{1});
  calls.clear();
  draining.Join();
  EXPECT_TRUE(epoch.ok()) << epoch.status();
}

TEST_F(ClusterTest, WithoutRoomElsewhereADrainIsRefused) {
  const auto router = MakeRouter();
  const auto first = JoinHalf(*router, 0, 100, /*slot_count=*/5);
  const auto second = JoinHalf(*router, 1);
  ExpectCovered(*router);
  const auto drained = second->Drain();
  EXPECT_EQ(drained.status().code(), absl::StatusCode::kResourceExhausted) << drained.status();
  EXPECT_THAT(drained.status().message(), HasSubstr("shard 1 alone holds"));
  EXPECT_TRUE(router->cluster->Coverage().ok());
  EXPECT_THAT(router->metrics.Text(), HasSubstr("tessera_router_drains_unfinished_total 0\n"));
  second->Kill();  // its time is over
  EXPECT_TRUE(router->Await([&] {
    return absl::StrContains(router->metrics.Text(), "tessera_router_drains_unfinished_total 1\n");
  }));
}

TEST_F(ClusterTest, ADrainWaitsForRoomThatSurplusCopiesMake) {
  const auto router = MakeRouter();
  const auto first = JoinHalf(*router, 0, 100, /*slot_count=*/4);
  auto twin = MakeShard({.id = 2, .incarnation = 102, .held = Slice(0, 2), .slot_count = 4});
  twin->Join(router->server->address());
  const auto second = JoinHalf(*router, 1);
  ASSERT_TRUE(router->Await([&] { return router->Linked(2) && router->Linked(1); }));
  ExpectCovered(*router);
  const auto drained = second->Drain();
  ASSERT_TRUE(drained.ok()) << drained.status();
  EXPECT_EQ(first->held().size() + twin->held().size(), 8u);
  EXPECT_TRUE(router->cluster->Coverage().ok());
}

TEST_F(ClusterTest, ShardsWithoutCallsAreGrantedAPauseUnlessSomebodyLooks) {
  const auto router = MakeRouter();
  const auto first = JoinHalf(*router, 0);
  EXPECT_TRUE(router->Await([&] { return first->pause_ms > 0; }));
  EXPECT_TRUE(router->Await([&] {
    EXPECT_EQ(router->cluster->ShardActivities().size(), 1u);
    return first->pause_ms == 0;
  }));
}

TEST_F(ClusterTest, AFollowerReachesTheSameShardsAndNeedsNoLeaderToRepair) {
  auto leader = MakeRouter();
  ClusterConfig config = Config();
  config.leader = leader->server->address();
  config.incarnation = 8;
  const auto follower = MakeRouter(config);
  const auto first = JoinHalf(*leader, 0);
  auto second = JoinHalf(*leader, 1);
  ExpectCovered(*follower);
  EXPECT_EQ(follower->View()->placement.epoch(), leader->View()->placement.epoch());
  const auto tells = [](auto& router, const char* line) {
    return router->Await([&] { return absl::StrContains(router->metrics.Text(), line); });
  };
  EXPECT_TRUE(tells(leader, "tessera_router_leads 1\n"));
  EXPECT_TRUE(tells(follower, "tessera_router_leads 0\n"));
  ClusterClient client(follower->server->address(), TestSecret());
  v1::HeartbeatRequest heartbeat;
  client.Seal(heartbeat);
  v1::HeartbeatReply reply;
  const absl::Status refused = client.Call(&v1::Cluster::Stub::Heartbeat, heartbeat, reply);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr(leader->server->address()));
  leader->Stop();
  second->Kill();
  ASSERT_TRUE(follower->Await([&] { return !follower->Linked(1); }));
  const std::vector<ExpertId> wanted = {ExpertId{2}, ExpertId{3}};
  for (const LayerIndex layer : TestMoeLayers()) {
    follower->cluster->directory().RequestUnits(layer, wanted, {});
  }
  ExpectCovered(*follower);
}

TEST_F(ClusterTest, AHungShardIsProbedAgainAndDelaysNobody) {
  const auto router = MakeRouter();
  const auto first = JoinHalf(*router, 0);
  first->Hang();
  auto hanging = MakeShard({.id = 2, .slot_count = 4});
  hanging->Hang();
  hanging->Join(router->server->address());
  hanging->hung.WaitForNotification();
  const auto second = JoinHalf(*router, 1);
  ASSERT_TRUE(router->Await([&] { return router->Linked(1); }));
  EXPECT_FALSE(router->Linked(2));
  const absl::Duration before = clock_.Elapsed();
  router->cluster->Stop();
  EXPECT_LT(clock_.Elapsed() - before, absl::Seconds(1));
  EXPECT_FALSE(router->Linked(1)) << "links end with the cluster";
}

TEST_F(ClusterTest, StopEndsALoadAndADrain) {
  const auto router = MakeRouter();
  const auto first = JoinHalf(*router, 0);
  const auto second = JoinHalf(*router, 1);
  ExpectCovered(*router);
  first->Hang();
  absl::StatusOr<uint64_t> drained = absl::UnknownError("not yet");
  Thread draining("drain", [&](std::stop_token) { drained = second->Drain(); });
  first->hung.WaitForNotification();
  const absl::Duration before = clock_.Elapsed();
  router->cluster->Stop();
  EXPECT_LT(clock_.Elapsed() - before, absl::Seconds(1));
  draining.Join();
  EXPECT_EQ(drained.status().code(), absl::StatusCode::kUnavailable) << drained.status();
}

TEST_F(ClusterTest, AShardWithAnotherSecretGetsNoSession) {
  const auto router = MakeRouter();
  const ClusterSecret other = TestSecret("some other secret, long enough");
  const auto stranger = MakeShard({.id = 0, .held = Slice(0, 4), .secret = other});
  stranger->Join(router->server->address(), other);
  EXPECT_EQ(stranger->joined().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(router->View()->placement.shards().empty());
  // One that knows the router's secret but whose own port does not.
  const auto half = MakeShard({.id = 1, .held = Slice(0, 4), .secret = other});
  half->Join(router->server->address());
  ASSERT_TRUE(half->joined().ok());
  EXPECT_FALSE(router->cluster->WaitUntilCovered(absl::Milliseconds(200)).ok());
  EXPECT_EQ(half->sessions, 0) << "nothing was proved to it";
}

TEST_F(ClusterTest, AShardWithAnotherModelIsRefused) {
  const auto router = MakeRouter();
  wire::ModelIdentity other = TestModel();
  other.model_hash = wire::HashText(78);
  const auto shard = MakeShard({.id = 0, .held = Slice(0, 4), .model = other});
  shard->Join(router->server->address());
  EXPECT_EQ(shard->joined().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(shard->joined().message(), HasSubstr(wire::HashText(77)));
  EXPECT_THAT(shard->joined().message(), HasSubstr(wire::HashText(78)));
}

TEST_F(ClusterTest, EverythingWorksOverIPv6) {
  if (!RpcServer::Start({.listen = "[::1]:0"}, {}).ok()) {
    GTEST_SKIP() << "this box has no IPv6 loopback";
  }
  const auto router = MakeRouter(Config(), "[::1]:0");
  EXPECT_THAT(router->server->address(), HasSubstr("[::1]:"));
  const auto shard = MakeShard({.id = 0, .held = Slice(0, 4), .listen = "[::1]:0"});
  shard->Join(router->server->address());
  ASSERT_TRUE(shard->joined().ok()) << shard->joined();
  ExpectCovered(*router);
}

TEST_F(ClusterTest, BadConfigsAreNamed) {
  const auto refuse = [&](ClusterConfig config, const char* field) {
    Registry metrics;
    ExchangeClient exchange(ExchangeConfig{}, clock_, network_->MakeTransport());
    const auto started = Cluster::Start(std::move(config), exchange, clock_, metrics);
    EXPECT_EQ(started.status().code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_THAT(started.status().message(), HasSubstr(field));
  };
  ClusterConfig config = Config();
  config.incarnation = 0;
  refuse(config, "incarnation");
  config = Config();
  config.model.model_hash = "xyz";
  refuse(config, "model_hash");
  config = Config();
  config.moe_layers = {LayerIndex{3}};
  refuse(config, "moe_layers");
  config = Config();
  config.credits = 0;
  refuse(config, "credits");
  config = Config();
  config.lost_after = config.heartbeat_interval;
  refuse(config, "heartbeat_interval");
  config = Config();
  config.copies_wanted = 0;
  refuse(config, "copies_wanted");
}

}  // namespace
}  // namespace tessera::router
