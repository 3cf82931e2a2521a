// What happens to a call when more than one thing goes wrong with it.

#include <gtest/gtest.h>

#include "tests/services/router/dispatch/dispatch_samples.h"

namespace tessera::router {
namespace {

constexpr LayerIndex kLayer{0};

// Two shards with copies of every expert, each at slots of its own.
struct LadderBench : DispatchBench {
  LadderBench() : DispatchBench(SimulatedClusterConfig{}, WithoutHedges()) {
    for (uint32_t e = 0; e < 8; ++e) cluster.AddCopy(kLayer, ExpertId{e}, e < 4 ? 1 : 0);
    cluster.Publish();
    for (uint32_t e = 0; e < 8; ++e) {
      const auto replicas = cluster.View()->placement.replicas(kLayer, ExpertId{e});
      EXPECT_EQ(replicas.size(), 2u);
      EXPECT_NE(replicas[0].slot, replicas[1].slot) << "the test needs them to differ";
    }
    // How long answers take is known; of a new shard the first timeout is a long one.
    for (uint64_t seed = 100; seed < 130; ++seed) ExpectRight(seed);
  }
  static DispatchConfig WithoutHedges() {
    DispatchConfig config;
    config.hedge_share_max = 0;
    return config;
  }
  void DropCalls(uint64_t count) {
    cluster.network().Inject({.kind = FaultKind::kDrop,
                              .direction = FrameDirection::kToListener,
                              .type = wire::FrameType::kCall,
                              .count = count});
  }
  // One row for one expert; right, and answered in far less than exchange_timeout.
  void ExpectSoon(uint64_t seed) {
    const Work work = RandomWork(/*rows=*/1, seed, /*expert_count=*/8, /*top_k=*/1);
    const absl::Duration start = cluster.clock().Elapsed();
    Matrix sum;
    const absl::Status status = Run(work, sum, kLayer);
    ASSERT_TRUE(status.ok()) << "seed " << seed << ": " << status;
    ExpectSum(work, sum, kLayer);
    EXPECT_LT(cluster.clock().Elapsed() - start, absl::Milliseconds(300)) << "seed " << seed;
  }
};

TEST(Ladder, WhoIsAskedAgainIsAskedByItsOwnSlots) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    LadderBench bench;
    bench.DropCalls(2);  // the first attempt, and the one beside it on the other shard
    bench.ExpectSoon(seed);
    EXPECT_EQ(bench.ShardTotal("nacks", "not_hosted"), 0) << "seed " << seed;
    bench.ExpectNoSlotLeaks();
  }
}

TEST(Ladder, ALateCallGoesOnWhenItsRetryIsRefused) {
  for (const wire::NackReason reason :
       {wire::NackReason::kCorrupt, wire::NackReason::kFailed, wire::NackReason::kOverloaded}) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      LadderBench bench;
      bench.DropCalls(1);
      for (size_t shard = 0; shard < 2; ++shard) bench.cluster.shard(shard).refuse_next = {reason};
      bench.ExpectSoon(seed);
      bench.ExpectNoSlotLeaks();
    }
  }
}

// The refusal is about a slot of the old view; the same shard holds the expert in the new one.
TEST(Ladder, ARefusalByAnOldViewBansNobodyInTheNew) {
  DispatchBench bench(SimulatedClusterConfig{}, LadderBench::WithoutHedges());
  const Work work = RandomWork(/*rows=*/1, /*seed=*/1, /*expert_count=*/8, /*top_k=*/1);
  const ExpertId expert{work.experts[0]};
  const size_t holder = work.experts[0] < 4 ? 0 : 1;
  bench.cluster.network().Inject({.kind = FaultKind::kDelay,
                                  .direction = FrameDirection::kToListener,
                                  .type = wire::FrameType::kCall,
                                  .count = 1,
                                  .delay = absl::Milliseconds(5)});
  bench.cluster.At(bench.cluster.clock().Elapsed() + absl::Milliseconds(1), [&] {
    bench.cluster.RemoveFromPlacement(kLayer, expert, holder);
    bench.cluster.shard(holder).units.erase({kLayer, expert});
    bench.cluster.AddCopy(kLayer, expert, holder);
    bench.cluster.Publish();
  });
  Matrix sum;
  const absl::Status status = bench.Run(work, sum, kLayer);
  ASSERT_TRUE(status.ok()) << status;
  bench.ExpectSum(work, sum, kLayer);
  EXPECT_EQ(bench.ShardTotal("nacks", "not_hosted"), 1) << "the test must meet the old slot";
}

// Its connection lives and answers pings; only its calls take for ever.
struct SlowShardBench : DispatchBench {
  SlowShardBench(const SimulatedClusterConfig& cluster_config, const DispatchConfig& config)
      : DispatchBench(cluster_config, config) {
    for (uint64_t seed = 100; seed < 130; ++seed) ExpectRight(seed);
  }
  // Experts 0 to 3 live on shard 0.
  static Work RowsFor(std::vector<uint32_t> experts) {
    Work work = RandomWork(experts.size(), /*seed=*/1, /*expert_count=*/8, /*top_k=*/1);
    work.experts = std::move(experts);
    return work;
  }
};

TEST(Ladder, WhatASlowShardHoldsAloneIsLoadedElsewhere) {
  SimulatedClusterConfig config;
  config.load_after = absl::Milliseconds(20);
  SlowShardBench bench(config, {});
  bench.cluster.shard(0).compute = absl::Seconds(20);
  const absl::Duration start = bench.cluster.clock().Elapsed();
  const Work work = SlowShardBench::RowsFor({1, 5, 2});
  Matrix sum;
  const absl::Status status = bench.Run(work, sum, kLayer);
  ASSERT_TRUE(status.ok()) << status;
  bench.ExpectSum(work, sum, kLayer);
  EXPECT_LT(bench.cluster.clock().Elapsed() - start, absl::Milliseconds(400));
  EXPECT_EQ(bench.Total("tessera_router_relocations_total"), 1);
  EXPECT_EQ(bench.cluster.requested,
            (std::vector{std::pair(kLayer, ExpertId{1}), std::pair(kLayer, ExpertId{2})}));
}

TEST(Ladder, AStepIsGivenUpForTheRowsOfASlowShardOnly) {
  DispatchConfig config;
  config.late_max = absl::Seconds(2);
  SlowShardBench bench(SimulatedClusterConfig{}, config);
  bench.cluster.shard(0).compute = absl::Seconds(20);
  const absl::Duration start = bench.cluster.clock().Elapsed();
  Matrix sum;
  const absl::Status status = bench.Run(SlowShardBench::RowsFor({1, 5, 2}), sum, kLayer);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_LT(bench.cluster.clock().Elapsed() - start, absl::Seconds(3)) << "not exchange_timeout";
  const auto rows = bench.dispatcher->homeless_rows();
  EXPECT_EQ(std::vector<uint32_t>(rows.begin(), rows.end()), (std::vector<uint32_t>{0, 2}));
  EXPECT_EQ(bench.Total("tessera_router_late_failures_total"), 1);
}

// However often it is tried, and however slow: nobody else's rows wait longer than late_max twice.
TEST(Ladder, AShardThatLivesAndNeverAnswersHoldsNoStepForLong) {
  const DispatchConfig config;
  SlowShardBench bench(SimulatedClusterConfig{}, config);
  bench.cluster.shard(0).compute = absl::Hours(1);
  for (int step = 0; step < 6; ++step) {
    const absl::Duration start = bench.cluster.clock().Elapsed();
    Matrix sum;
    const absl::Status status = bench.Run(SlowShardBench::RowsFor({1, 5, 2}), sum, kLayer);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_LE(bench.cluster.clock().Elapsed() - start, 2 * config.late_max + config.timeout_floor)
        << "step " << step;
    const auto rows = bench.dispatcher->homeless_rows();
    EXPECT_EQ(std::vector<uint32_t>(rows.begin(), rows.end()), (std::vector<uint32_t>{0, 2}));
  }
}

// Giving up teaches how long an answer takes, so it is not given up for ever.
TEST(Ladder, AShardThatTakesSecondsIsWaitedForInTheEnd) {
  SlowShardBench bench(SimulatedClusterConfig{}, {});
  bench.cluster.shard(0).compute = absl::Seconds(7);
  const Work work = SlowShardBench::RowsFor({1, 2});
  absl::Status status;
  int tries = 0;
  do {
    Matrix sum;
    status = bench.Run(work, sum, kLayer);
    if (!status.ok()) bench.cluster.Pass(absl::Seconds(1));
  } while (!status.ok() && ++tries < 30);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_GT(tries, 0) << "the test must see it given up";
}

// The view says that shard 0 has the expert, the shard says no: a router that is cut off from the
// one that moved it. Asking for copies must not count that one.
TEST(Ladder, AnOldViewsHolderThatRefusesIsNoHome) {
  SimulatedClusterConfig config;
  config.load_after = absl::Milliseconds(20);
  SlowShardBench bench(config, LadderBench::WithoutHedges());
  bench.cluster.shard(0).units.erase({kLayer, ExpertId{1}});
  const Work work = SlowShardBench::RowsFor({1});
  const absl::Duration start = bench.cluster.clock().Elapsed();
  Matrix sum;
  const absl::Status status = bench.Run(work, sum, kLayer);
  ASSERT_TRUE(status.ok()) << status;
  bench.ExpectSum(work, sum, kLayer);
  EXPECT_LT(bench.cluster.clock().Elapsed() - start, absl::Milliseconds(100));
  EXPECT_EQ(bench.cluster.shard(1).units.count({kLayer, ExpertId{1}}), 1u);
}

// Late for late_max already when it finds another home: it is posted there, not given up.
TEST(Ladder, ALateCallThatFoundAHomeIsNotGivenUpBeforeItIsThere) {
  DispatchConfig config = LadderBench::WithoutHedges();
  config.late_max = absl::Milliseconds(400);
  SlowShardBench bench(SimulatedClusterConfig{.shard_count = 3}, config);
  SimulatedCluster& cluster = bench.cluster;
  cluster.shard(0).compute = absl::Hours(1);
  // One expert each, so that the call has to come apart, as its time is over.
  const absl::Duration start = cluster.clock().Elapsed();
  cluster.At(start + config.timeout_floor + config.late_max, [&cluster] {
    cluster.AddCopy(kLayer, ExpertId{0}, 1);
    cluster.AddCopy(kLayer, ExpertId{1}, 2);
    cluster.Publish();
  });
  const Work work = SlowShardBench::RowsFor({0, 1});
  Matrix sum;
  const absl::Status status = bench.Run(work, sum, kLayer);
  ASSERT_TRUE(status.ok()) << status;
  bench.ExpectSum(work, sum, kLayer);
}

TEST(Ladder, ACallWithoutAttemptsLeftIsWatchedOnAndGoesToANewReplica) {
  DispatchConfig config = LadderBench::WithoutHedges();
  config.attempts_max = 2;
  SlowShardBench bench(SimulatedClusterConfig{}, config);
  SimulatedCluster& cluster = bench.cluster;
  cluster.shard(0).compute = absl::Seconds(20);
  cluster.At(cluster.clock().Elapsed() + absl::Seconds(1), [&cluster] {
    cluster.AddCopy(kLayer, ExpertId{1}, 1);
    cluster.Publish();
  });
  const absl::Duration start = cluster.clock().Elapsed();
  const Work work = SlowShardBench::RowsFor({1});
  Matrix sum;
  const absl::Status status = bench.Run(work, sum, kLayer);
  ASSERT_TRUE(status.ok()) << status;
  bench.ExpectSum(work, sum, kLayer);
  EXPECT_LT(cluster.clock().Elapsed() - start, absl::Milliseconds(1100));
  EXPECT_EQ(cluster.shard(0).seen.back().attempt, 1);
}

// Two refusals of one call, the first while a hedge is on its way: one retry, one token.
TEST(Ladder, ARefusalBesideAnotherAttemptCostsNoRetry) {
  DispatchConfig config;
  config.retry_share = 0;
  config.retries_saved_max = 1;
  DispatchBench bench(SimulatedClusterConfig{.replicas = 2}, config);
  for (uint64_t seed = 0; seed < 100; ++seed) bench.ExpectRight(seed, 4);
  for (size_t shard = 0; shard < 2; ++shard) {
    bench.cluster.shard(shard).compute = absl::Milliseconds(30);
    bench.cluster.shard(shard).refuse_next = {wire::NackReason::kFailed};
  }
  const Work work = RandomWork(/*rows=*/1, /*seed=*/1, /*expert_count=*/8, /*top_k=*/1);
  Matrix sum;
  const absl::Status status = bench.Run(work, sum, kLayer);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(bench.ShardTotal("hedges"), 1) << "the test needs one";
  EXPECT_EQ(bench.ShardTotal("nacks", "failed"), 2);
  EXPECT_EQ(bench.Total("tessera_router_retries_held_total"), 0);
}

TEST(Ladder, AnIdleRouterGivesUpAFlightNobodyReceives) {
  DispatchBench bench(SimulatedClusterConfig{});
  const Work work = RandomWork(3, 1);
  ASSERT_TRUE(bench.dispatcher->Send(kLayer, work.routed()).ok());
  bench.cluster.shard(1).Stop();
  bench.dispatcher->LookAround();
  EXPECT_EQ(bench.cluster.downs_reported, 1u) << "what happened meanwhile is noted";
  bench.ExpectNoSlotLeaks();
}

// Shard 0 has experts 0 and 1 and must give its call away, one expert to each of the others. A sum
// of three is not the same in every order.
TEST(Ladder, ACallInPiecesAddsUpToTheBitsOfTheWhole) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    DispatchBench bench(SimulatedClusterConfig{.shard_count = 3});
    Work work = RandomWork(/*rows=*/4, seed, /*expert_count=*/8, /*top_k=*/3);
    for (size_t row = 0; row < 4; ++row) {
      for (size_t k = 0; k < 3; ++k)
        work.experts[row * 3 + k] = k == 2 ? 3 : static_cast<uint32_t>(k);
    }
    Matrix whole;
    ASSERT_TRUE(bench.Run(work, whole, kLayer).ok());
    ASSERT_EQ(bench.cluster.shard(2).seen.size(), 0u) << "0 and 1 live on shard 0, 3 on shard 1";
    bench.cluster.shard(0).refuse_next = {wire::NackReason::kDraining};
    const auto view = bench.cluster.View();
    bench.tamper = [&](std::vector<ExchangeEvent>&) {
      if (bench.cluster.View() != view) return;
      bench.cluster.AddCopy(kLayer, ExpertId{0}, 1);
      bench.cluster.AddCopy(kLayer, ExpertId{1}, 2);
      bench.cluster.RemoveFromPlacement(kLayer, ExpertId{0}, 0);
      bench.cluster.RemoveFromPlacement(kLayer, ExpertId{1}, 0);
      bench.cluster.Publish();
    };
    Matrix pieces;
    ASSERT_TRUE(bench.Run(work, pieces, kLayer).ok());
    ASSERT_EQ(bench.cluster.shard(2).seen.size(), 1u) << "the call must come apart";
    EXPECT_TRUE(std::ranges::equal(whole.values(), pieces.values())) << "seed " << seed;
  }
}

}  // namespace
}  // namespace tessera::router
