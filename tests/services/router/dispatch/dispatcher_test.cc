// The dispatcher against shards that answer, refuse, or are not there.

#include "services/router/dispatch/dispatcher.h"

#include <optional>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/services/router/dispatch/dispatch_samples.h"

namespace tessera::router {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using wire::NackReason;

SimulatedClusterConfig Cluster(size_t shards, size_t replicas = 1, bool strict = false) {
  SimulatedClusterConfig config;
  config.shard_count = shards;
  config.replicas = replicas;
  config.geometry.strict = strict;
  return config;
}

class ShardCountTest : public ::testing::TestWithParam<std::tuple<size_t, size_t>> {};

INSTANTIATE_TEST_SUITE_P(Counts, ShardCountTest,
                         ::testing::Combine(::testing::Values(1, 2, 3, 7),
                                            ::testing::Values(1, 2)));

TEST_P(ShardCountTest, SumsAreRight) {
  DispatchBench bench(Cluster(std::get<0>(GetParam()), std::get<1>(GetParam())));
  for (uint64_t seed = 0; seed < 20; ++seed) bench.ExpectRight(seed, 1 + seed % 9, LayerIndex{1});
}

TEST_P(ShardCountTest, StrictSumsHaveTheSameBits) {
  DispatchBench bench(Cluster(std::get<0>(GetParam()), std::get<1>(GetParam()), true));
  for (uint64_t seed = 0; seed < 20; ++seed) bench.ExpectRight(seed, 1 + seed % 9, LayerIndex{1});
}

TEST(Dispatcher, ALayerWithoutRowsIsDoneAtOnce) {
  DispatchBench bench(Cluster(2));
  bench.ExpectRight(1, 0);
  EXPECT_EQ(bench.ShardTotal("calls"), 0);
}

TEST(Dispatcher, EachShardIsCalledOncePerLayerAndCounted) {
  DispatchBench bench(Cluster(2));
  for (uint64_t seed = 0; seed < 10; ++seed) bench.ExpectRight(seed, 20);
  EXPECT_EQ(bench.ShardTotal("calls"), 20);
  EXPECT_EQ(bench.ShardTotal("calls", "shard=\"1\""), 10);
  EXPECT_EQ(bench.ShardTotal("retries"), 0);
  EXPECT_EQ(bench.Total("tessera_router_dispatch_seconds_count"), 10);
  EXPECT_NEAR(bench.Total("tessera_router_layer_seconds_total", "phase=\"plan\"") +
                  bench.Total("tessera_router_layer_seconds_total", "phase=\"post\""),
              bench.Total("tessera_router_dispatch_seconds_sum"), 1e-12);
  EXPECT_EQ(bench.Total("tessera_router_expert_wait_seconds_count"), 10);
  EXPECT_EQ(bench.Total("tessera_router_combine_seconds_count"), 10);
  EXPECT_EQ(bench.Total("tessera_router_shard_call_seconds_count"), 20);
  EXPECT_NEAR(bench.Total("tessera_router_shard_call_seconds_sum"), 20 * 200e-6, 1e-9);
  EXPECT_EQ(bench.Total("tessera_router_shard_compute_seconds_count"), 20);
  EXPECT_NEAR(bench.Total("tessera_router_shard_compute_seconds_sum"), 20 * 100e-6, 1e-9);
}

TEST(Dispatcher, EachShardIsToldOfEachTraceOfAStepOnce) {
  const auto trace = [](const char* id) {
    return *ParseTraceparent(absl::StrCat("00-4bf92f3577b34da6a3ce929d0e0e4736-", id, "-01"));
  };
  const std::vector<TraceContext> two = {trace("0000000000000001"), trace("0000000000000002")};
  DispatchBench bench(Cluster(2));
  bench.ExpectRight(1, 20);
  bench.dispatcher->BeginStep(two);
  for (uint64_t seed = 2; seed < 5; ++seed) bench.ExpectRight(seed, 20);
  bench.dispatcher->BeginStep(std::span(two).last(1));
  bench.ExpectRight(5, 20);
  bench.dispatcher->BeginStep({});
  bench.ExpectRight(6, 20);
  const std::vector<std::optional<TraceContext>> expected = {std::nullopt, two[0], two[1],
                                                             std::nullopt, two[1], std::nullopt};
  for (size_t shard = 0; shard < 2; ++shard) {
    EXPECT_EQ(bench.cluster.shard(shard).traces, expected);
  }
}

TEST(Dispatcher, CallsAreCutToTheRowsAShardTakes) {
  for (const bool strict : {false, true}) {
    SimulatedClusterConfig config = Cluster(2, 1, strict);
    config.geometry.rows_max = 4;
    config.geometry.pairs_max = 12;
    config.credits = 2;  // fewer than the parts: answers have to give their slots back
    DispatchBench bench(config);
    bench.ExpectRight(1, 23);
    // Every shard gets about 23 rows in sixes.
    EXPECT_GE(bench.ShardTotal("calls"), 10);
    for (size_t s = 0; s < 2; ++s) {
      for (const wire::FrameHeader& header : bench.cluster.shard(s).seen) {
        EXPECT_LE(header.rows, 4u);
      }
    }
  }
}

TEST(Dispatcher, ARowWithMorePairsThanFitIsStillSentAlone) {
  SimulatedClusterConfig config = Cluster(1);
  config.geometry.rows_max = 4;
  config.geometry.pairs_max = 7;  // two rows of three pairs
  DispatchBench bench(config);
  bench.ExpectRight(1, 5);
  EXPECT_EQ(bench.ShardTotal("calls"), 3);
}

TEST(Dispatcher, AFlightThatWasNeverReceivedIsGivenUp) {
  DispatchBench bench(Cluster(2));
  const Work work = RandomWork(3, 1);
  ASSERT_TRUE(bench.dispatcher->Send(LayerIndex{0}, work.routed()).ok());
  bench.ExpectRight(2);
  bench.ExpectNoSlotLeaks();
}

TEST(Dispatcher, RefusalsByAnOldPlacementFollowTheNewOneAndAreNotFailures) {
  for (const NackReason reason :
       {NackReason::kNotHosted, NackReason::kWrongVersion, NackReason::kDraining}) {
    DispatchBench bench(Cluster(2, 2, true));
    bench.cluster.shard(0).refuse_next = {reason};
    for (uint64_t seed = 0; seed < 5; ++seed) bench.ExpectRight(seed);
    EXPECT_EQ(bench.ShardTotal("nacks", std::string(wire::NameOf(reason))), 1);
    EXPECT_EQ(bench.ShardTotal("retries"), 1);
    EXPECT_EQ(bench.ShardTotal("retries", "shard=\"1\""), 1);
    EXPECT_EQ(bench.ShardTotal("failures"), 0);
  }
}

TEST(Dispatcher, AUnitThatMovedIsFoundInTheNewView) {
  DispatchBench bench(Cluster(2, 1, true));
  SimulatedCluster& cluster = bench.cluster;
  // Shard 0 gave expert 0 away; the view that says so comes ten milliseconds later.
  cluster.shard(0).units.erase({LayerIndex{0}, ExpertId{0}});
  cluster.At(cluster.clock().Elapsed() + absl::Milliseconds(10), [&cluster] {
    cluster.RemoveFromPlacement(LayerIndex{0}, ExpertId{0}, 0);
    cluster.AddCopy(LayerIndex{0}, ExpertId{0}, 1);
    cluster.Publish();
  });
  const Work work = RandomWork(6, 1, /*expert_count=*/3);  // expert 0 in every row
  Matrix sum;
  ASSERT_TRUE(bench.Run(work, sum).ok());
  bench.ExpectSum(work, sum);
  EXPECT_GE(bench.ShardTotal("nacks", "not_hosted"), 1);
  EXPECT_EQ(cluster.requested.front().second, ExpertId{0});
}

TEST(Dispatcher, OtherRefusalsAreSentAgain) {
  for (const NackReason reason :
       {NackReason::kCorrupt, NackReason::kLate, NackReason::kOverloaded, NackReason::kFailed}) {
    for (const size_t replicas : {1, 2}) {
      DispatchBench bench(Cluster(2, replicas, true));
      bench.cluster.shard(0).refuse_next = {reason};
      bench.ExpectRight(1, 6);
      EXPECT_EQ(bench.ShardTotal("nacks", std::string(wire::NameOf(reason))), 1);
      EXPECT_EQ(bench.ShardTotal("retries"), 1);
      EXPECT_EQ(bench.ShardTotal("retries", absl::StrCat("shard=\"", replicas - 1, "\"")), 1)
          << "on the other shard if there is one that holds it";
    }
  }
}

TEST(Dispatcher, ARetrySaysSoAndGoesFirst) {
  DispatchBench bench(Cluster(1));
  bench.cluster.shard(0).refuse_next = {NackReason::kFailed};
  bench.ExpectRight(1);
  const auto& seen = bench.cluster.shard(0).seen;
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].attempt, 0);
  EXPECT_FALSE(seen[0].has(wire::kRetry));
  EXPECT_EQ(seen[1].attempt, 1);
  EXPECT_TRUE(seen[1].has(wire::kRetry));
  EXPECT_GT(seen[1].priority, seen[0].priority);
  EXPECT_GT(seen[1].budget_us, seen[0].budget_us);
}

TEST(Dispatcher, ACallThatFailsAlwaysEnds) {
  DispatchConfig config;
  config.attempts_max = 3;
  DispatchBench bench(Cluster(1), config);
  bench.cluster.shard(0).refuse_next.assign(3, NackReason::kFailed);
  Matrix sum;
  const absl::Status status = bench.Run(RandomWork(2, 1), sum);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("failed 3 times"));
  bench.ExpectRight(2);
}

TEST(Dispatcher, WithoutBudgetRetriesArePaced) {
  DispatchConfig config;
  config.retries_saved_max = 0;
  DispatchBench bench(Cluster(1), config);
  bench.cluster.shard(0).refuse_next.assign(4, NackReason::kCorrupt);
  const absl::Duration start = bench.cluster.clock().Elapsed();
  bench.ExpectRight(1);
  EXPECT_GE(bench.cluster.clock().Elapsed() - start, 4 * config.retry_pause);
  EXPECT_EQ(bench.Total("tessera_router_retries_held_total"), 4);
}

TEST(Dispatcher, WithoutCreditAnotherReplicaIsAsked) {
  SimulatedClusterConfig config = Cluster(2, 2, true);
  config.credits = 1;
  DispatchBench bench(config);
  // Somebody else's call holds the only slot of shard 0.
  const auto slot = bench.cluster.exchange().Acquire(bench.cluster.View()->links[0]->peer);
  ASSERT_TRUE(slot.ok());
  bench.ExpectRight(1, 6);
  EXPECT_EQ(bench.ShardTotal("calls", "shard=\"0\""), 0);
  bench.cluster.exchange().Return(*slot);
}

TEST(Dispatcher, WithoutCreditAndReplicaTheCallWaits) {
  SimulatedClusterConfig config = Cluster(1, 1, true);
  config.credits = 1;
  DispatchBench bench(config);
  SimulatedCluster& cluster = bench.cluster;
  const auto slot = cluster.exchange().Acquire(cluster.View()->links[0]->peer);
  ASSERT_TRUE(slot.ok());
  cluster.At(cluster.clock().Elapsed() + absl::Milliseconds(30),
             [&] { cluster.exchange().Return(*slot); });
  const absl::Duration start = cluster.clock().Elapsed();
  bench.ExpectRight(1, 6);
  EXPECT_GE(cluster.clock().Elapsed() - start, absl::Milliseconds(30));
  EXPECT_EQ(bench.ShardTotal("credit_waits"), 1);
}

TEST(Dispatcher, AnExpertNobodyHoldsIsAskedForAndNamed) {
  DispatchBench bench(Cluster(2));
  SimulatedCluster& cluster = bench.cluster;
  cluster.RemoveFromPlacement(LayerIndex{1}, ExpertId{5}, 1);
  cluster.Publish();
  Work work = RandomWork(4, 1, /*expert_count=*/3);
  for (const size_t row : {1, 3}) work.experts[row * 3 + 2] = 5;
  Matrix sum;
  const absl::Duration start = cluster.clock().Elapsed();
  const absl::Status status = bench.Run(work, sum, LayerIndex{1});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("expert 5 of layer 1"));
  EXPECT_EQ(cluster.clock().Elapsed() - start, absl::Milliseconds(250));
  EXPECT_THAT(bench.dispatcher->homeless_rows(), ElementsAre(1, 3));
  EXPECT_THAT(cluster.requested, ElementsAre(std::pair(LayerIndex{1}, ExpertId{5})));
  EXPECT_EQ(cluster.units_requested, 1u);
  EXPECT_EQ(bench.Total("tessera_router_homeless_failures_total"), 1);
  bench.ExpectNoSlotLeaks();
  bench.ExpectRight(2);  // another layer goes on
  EXPECT_TRUE(bench.dispatcher->homeless_rows().empty());
}

TEST(Dispatcher, AStepWaitsForAnExpertThatIsBeingLoaded) {
  SimulatedClusterConfig config = Cluster(2, 1, true);
  config.load_after = absl::Milliseconds(100);
  DispatchBench bench(config);
  bench.cluster.RemoveFromPlacement(LayerIndex{0}, ExpertId{0}, 0);
  bench.cluster.shard(0).units.erase({LayerIndex{0}, ExpertId{0}});
  bench.cluster.Publish();
  const absl::Duration start = bench.cluster.clock().Elapsed();
  bench.ExpectRight(1, 8);
  EXPECT_GE(bench.cluster.clock().Elapsed() - start, absl::Milliseconds(100));
  EXPECT_LT(bench.cluster.clock().Elapsed() - start, absl::Milliseconds(110));
}

TEST(Dispatcher, WithoutAPlacementEverybodyIsHomeless) {
  SimulatedClusterConfig config = Cluster(1);
  config.replicas = 0;
  DispatchBench bench(config);
  Matrix sum;
  EXPECT_EQ(bench.Run(RandomWork(2, 1), sum).code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(bench.dispatcher->homeless_rows(), ElementsAre(0, 1));
}

TEST(Dispatcher, AnExchangeHasAnEnd) {
  DispatchConfig config;
  config.exchange_timeout = absl::Milliseconds(100);
  DispatchBench bench(Cluster(1), config);
  bench.cluster.shard(0).compute = absl::Seconds(10);
  Matrix sum;
  EXPECT_EQ(bench.Run(RandomWork(2, 1), sum).code(), absl::StatusCode::kDeadlineExceeded);
  bench.cluster.shard(0).compute = absl::Microseconds(100);
}

TEST(Dispatcher, AnAnswerOfAWrongShapeIsABug) {
  DispatchBench bench(Cluster(2, 2));
  bench.tamper = [](std::vector<ExchangeEvent>& events) {
    for (ExchangeEvent& event : events) event.reply.rows.rows += 1;
  };
  Matrix sum;
  const absl::Status status = bench.Run(RandomWork(3, 1), sum);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("answered 3 x 8 numbers, expected 2 x 8"));
  bench.tamper = nullptr;
  bench.ExpectRight(2);
  bench.ExpectNoSlotLeaks();
}

TEST(Dispatcher, ASlotThatComesFreeIsUsedAtOnce) {
  SimulatedClusterConfig config = Cluster(1);
  config.geometry.rows_max = 2;
  config.geometry.pairs_max = 6;
  config.credits = 1;
  DispatchConfig dispatch;
  dispatch.credit_poll = absl::Milliseconds(100);
  DispatchBench bench(config, dispatch);
  const absl::Duration start = bench.cluster.clock().Elapsed();
  bench.ExpectRight(1, 20);
  EXPECT_EQ(bench.ShardTotal("calls"), 10);
  EXPECT_LT(bench.cluster.clock().Elapsed() - start, absl::Milliseconds(100));
}

TEST(Dispatcher, ASlowReplicaIsHedgedAndTheFirstAnswerCounts) {
  DispatchConfig config;
  config.hedge_share_max = 0.05;
  DispatchBench bench(Cluster(2, 2, true), config);
  for (uint64_t seed = 0; seed < 100; ++seed) bench.ExpectRight(seed, 4);
  ASSERT_EQ(bench.ShardTotal("hedges"), 0);
  bench.cluster.shard(0).compute = absl::Milliseconds(30);
  bench.cluster.shard(1).compute = absl::Milliseconds(1);
  const absl::Duration start = bench.cluster.clock().Elapsed();
  const double calls_before = bench.ShardTotal("calls", "shard=\"0\"");
  bench.ExpectRight(1000, 4);
  ASSERT_GT(bench.ShardTotal("calls", "shard=\"0\""), calls_before) << "choose another seed";
  EXPECT_EQ(bench.ShardTotal("hedges"), 1);
  EXPECT_EQ(bench.ShardTotal("hedges_won"), 1);
  EXPECT_LT(bench.cluster.clock().Elapsed() - start, absl::Milliseconds(15));
  EXPECT_TRUE(bench.cluster.shard(1).seen.back().has(wire::kHedge));
}

TEST(Dispatcher, HedgesStayWithinTheirShare) {
  DispatchConfig config;
  config.hedge_share_max = 0.005;
  DispatchBench bench(Cluster(2, 2, true), config);
  int slow = 0;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    const bool is_slow = seed % 40 == 39;
    slow += is_slow;
    bench.cluster.shard(0).compute = absl::Milliseconds(is_slow ? 40 : 1);
    bench.cluster.shard(1).compute = absl::Milliseconds(1);
    bench.ExpectRight(seed, 1);
  }
  EXPECT_GT(bench.ShardTotal("hedges"), 0);
  EXPECT_LE(bench.ShardTotal("hedges"), 0.005 * bench.ShardTotal("calls"));
  EXPECT_GT(slow, bench.ShardTotal("hedges")) << "nothing held them back";
}

TEST(Dispatcher, ABreakerOpensAfterFailuresAndAProbeClosesIt) {
  DispatchConfig config;
  config.breaker_failures = 3;
  DispatchBench bench(Cluster(2, 2, true), config);
  for (uint64_t seed = 0; seed < 20; ++seed) bench.ExpectRight(seed, 4);
  bench.cluster.shard(0).refuse_next.assign(3, NackReason::kFailed);
  uint64_t seed = 100;
  while (bench.Total("tessera_router_shard_breaker", "shard=\"0\"") != 2 && seed < 200) {
    bench.ExpectRight(seed++, 4);
  }
  ASSERT_LT(seed, 200u) << "the breaker never opened";
  const size_t seen = bench.cluster.shard(0).seen.size();
  for (int i = 0; i < 20; ++i) bench.ExpectRight(seed++, 4);
  EXPECT_EQ(bench.cluster.shard(0).seen.size(), seen) << "an open shard was called";
  bench.cluster.Pass(config.breaker_pause);
  for (int i = 0; i < 20; ++i) bench.ExpectRight(seed++, 4);
  EXPECT_GT(bench.cluster.shard(0).seen.size(), seen);
  EXPECT_EQ(bench.Total("tessera_router_shard_breaker", "shard=\"0\""), 0);
}

TEST(Dispatcher, ShardsThatWentWhileNothingRanAreReported) {
  DispatchBench bench(Cluster(2, 2));
  bench.cluster.shard(1).Stop();
  bench.dispatcher->LookAround();
  EXPECT_EQ(bench.cluster.downs_reported, 1u);
  bench.ExpectRight(1);
  EXPECT_EQ(bench.ShardTotal("failures"), 0);
}

TEST(Dispatcher, AConfigThatCannotBeIsNamed) {
  DispatchConfig config;
  EXPECT_TRUE(config.Validate().ok());
  config.timeout_factor = 0.5;
  EXPECT_EQ(config.Validate().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(config.Validate().message()), HasSubstr("timeout_factor"));
  config = DispatchConfig();
  config.exchange_timeout = absl::ZeroDuration();
  EXPECT_THAT(std::string(config.Validate().message()), HasSubstr("exchange_timeout"));
}

}  // namespace
}  // namespace tessera::router
