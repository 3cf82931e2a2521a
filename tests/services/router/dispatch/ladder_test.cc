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

}  // namespace
}  // namespace tessera::router
