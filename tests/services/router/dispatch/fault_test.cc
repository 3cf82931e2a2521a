// Every kind of fault, on the way there and back, with and without a second replica: the sums keep
// their bits, and the counters tell what happened.

#include <ostream>
#include <string>
#include <tuple>

#include "gtest/gtest.h"
#include "tests/services/router/dispatch/dispatch_samples.h"

namespace tessera::router {
namespace {

struct FaultCase {
  FaultKind kind;
  wire::FrameType frame;
  const char* name;

  friend std::ostream& operator<<(std::ostream& out, const FaultCase& fault) {
    return out << fault.name;
  }
};

class FaultTest : public ::testing::TestWithParam<std::tuple<FaultCase, size_t>> {
 protected:
  static SimulatedClusterConfig Cluster(size_t replicas) {
    SimulatedClusterConfig config;
    config.shard_count = 3;
    config.replicas = replicas;
    config.geometry.strict = true;
    config.reconnect_after = absl::Milliseconds(40);
    return config;
  }
  const FaultCase fault_ = std::get<0>(GetParam());
  const size_t replicas_ = std::get<1>(GetParam());
};

INSTANTIATE_TEST_SUITE_P(
    Kinds, FaultTest,
    ::testing::Combine(
        ::testing::Values(FaultCase{FaultKind::kDrop, wire::FrameType::kCall, "DropCall"},
                          FaultCase{FaultKind::kDrop, wire::FrameType::kReply, "DropReply"},
                          FaultCase{FaultKind::kDelay, wire::FrameType::kCall, "DelayCall"},
                          FaultCase{FaultKind::kDelay, wire::FrameType::kReply, "DelayReply"},
                          FaultCase{FaultKind::kDuplicate, wire::FrameType::kCall, "DupCall"},
                          FaultCase{FaultKind::kDuplicate, wire::FrameType::kReply, "DupReply"},
                          FaultCase{FaultKind::kReorder, wire::FrameType::kReply, "Reorder"},
                          FaultCase{FaultKind::kCorrupt, wire::FrameType::kCall, "CorruptCall"},
                          FaultCase{FaultKind::kCorrupt, wire::FrameType::kReply, "CorruptReply"},
                          FaultCase{FaultKind::kKill, wire::FrameType::kCall, "KillAtCall"},
                          FaultCase{FaultKind::kKill, wire::FrameType::kReply, "KillAtReply"}),
        ::testing::Values(1, 2)),
    [](const auto& info) {
      return std::string(std::get<0>(info.param).name) + "Replicas" +
             std::to_string(std::get<1>(info.param));
    });

TEST_P(FaultTest, OneFaultAtEachCallIsSurvived) {
  for (uint64_t skip = 0; skip < 6; ++skip) {
    DispatchBench bench(Cluster(replicas_));
    for (uint64_t seed = 0; seed < 8; ++seed) bench.ExpectRight(seed, 4);  // learn the latencies
    // Far beyond the patience learnt; a reordered answer is overtaken, but not late.
    const bool reorders = fault_.kind == FaultKind::kReorder;
    bench.cluster.network().Inject({.kind = fault_.kind,
                                    .type = fault_.frame,
                                    .skip = skip,
                                    .count = 1,
                                    .delay = absl::Milliseconds(reorders ? 1 : 100)});
    for (uint64_t seed = 0; seed < 8; ++seed) bench.ExpectRight(seed + 10, 4);
    ASSERT_EQ(bench.cluster.network().FaultHits(fault_.kind), 1u);
    const double timeouts = bench.ShardTotal("timeouts");
    const double retries = bench.ShardTotal("retries");
    switch (fault_.kind) {
      case FaultKind::kDrop:
      case FaultKind::kDelay:
        EXPECT_EQ(timeouts, 1);
        EXPECT_GE(retries, 1);
        break;
      case FaultKind::kDuplicate:
      case FaultKind::kReorder:
        EXPECT_EQ(timeouts, 0);
        EXPECT_EQ(retries, 0);
        break;
      case FaultKind::kCorrupt:
        EXPECT_GE(retries, 1);
        EXPECT_EQ(fault_.frame == wire::FrameType::kCall ? bench.ShardTotal("nacks", "corrupt")
                                                         : bench.ShardTotal("failures"),
                  1);
        break;
      case FaultKind::kKill:
        EXPECT_EQ(bench.cluster.downs_reported, 1u);
        EXPECT_EQ(bench.ShardTotal("failures"), 1);
        EXPECT_GE(retries, 1);
        EXPECT_EQ(bench.Total("tessera_router_homeless_failures_total"), 0);
        break;
    }
    bench.ExpectNoSlotLeaks();
  }
}

TEST_P(FaultTest, ManyFaultsAreSurvived) {
  DispatchBench bench(Cluster(replicas_));
  const bool kills = fault_.kind == FaultKind::kKill;
  bench.cluster.network().Inject({.kind = fault_.kind,
                                  .type = fault_.frame,
                                  .probability = kills ? 0.02 : 0.15,
                                  .delay = absl::Milliseconds(10),
                                  .jitter = absl::Milliseconds(200)});
  for (uint64_t seed = 0; seed < 150; ++seed) {
    const Work work = RandomWork(4, seed);
    Matrix sum;
    absl::Status status = bench.Run(work, sum);
    // The engine runs such a step again.
    for (int i = 0; i < 20 && absl::IsUnavailable(status); ++i) status = bench.Run(work, sum);
    ASSERT_TRUE(status.ok()) << status;
    bench.ExpectSum(work, sum);
  }
  EXPECT_GT(bench.cluster.network().FaultHits(fault_.kind), 0u);
  bench.ExpectNoSlotLeaks();
}

TEST(HungShardTest, ASuspectIsGivenOnlyWhatNobodyElseHolds) {
  SimulatedClusterConfig config;
  config.shard_count = 2;
  config.replicas = 2;
  config.geometry.strict = true;
  DispatchBench bench(config);
  for (uint64_t seed = 0; seed < 8; ++seed) bench.ExpectRight(seed, 6);
  bench.cluster.network().Hang("shard-0");
  const absl::Duration start = bench.cluster.clock().Elapsed();
  for (uint64_t seed = 10; seed < 60; ++seed) bench.ExpectRight(seed, 6);
  // One timeout, then the other shard alone; far below the 150 ms after which it is lost.
  EXPECT_EQ(bench.ShardTotal("timeouts"), 1);
  EXPECT_LT(bench.cluster.clock().Elapsed() - start, absl::Milliseconds(120));
}

TEST(HungShardTest, AHungShardIsLostAndItsExpertsAreLoadedElsewhere) {
  SimulatedClusterConfig config;
  config.shard_count = 2;
  config.geometry.strict = true;
  config.load_after = absl::Milliseconds(50);
  DispatchBench bench(config);
  for (uint64_t seed = 0; seed < 8; ++seed) bench.ExpectRight(seed, 6);
  bench.cluster.network().Hang("shard-0");
  const absl::Duration start = bench.cluster.clock().Elapsed();
  bench.ExpectRight(10, 6);
  EXPECT_EQ(bench.cluster.downs_reported, 1u);
  EXPECT_LT(bench.cluster.clock().Elapsed() - start, absl::Milliseconds(300));
}

}  // namespace
}  // namespace tessera::router
