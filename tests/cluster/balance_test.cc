// Experts move while requests run: copies of hot ones come, units change their shard, shards join
// and leave, and every request gets the tokens it would have had.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/golden_cluster.h"
#include "tests/support/wait_until.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;
using testing::TestClusterOptions;
using testing::WaitUntil;

router::BalancerConfig Eager() {
  return {.moves = true,
          .interval = absl::Milliseconds(300),
          .threshold = 1,
          .gain_min = 0.001,
          .steps_min = 1,
          .slots_kept_free = 0.05,
          .bytes_per_second_max = 0};
}

class BalanceTest : public testing::GoldenClusterTest {
 protected:
  size_t UnitsAt(size_t shard) {
    size_t units = 0;
    const auto view = cluster_->router().cluster().directory().View();
    for (const PlacedUnit& unit : view->placement.Units()) {
      units += unit.replica.shard == ShardId{static_cast<uint32_t>(shard)};
    }
    return units;
  }
  // Rounds of requests until `done`, at least one.
  template <typename Done>
  ::testing::AssertionResult TrafficUntil(Done done) {
    const RealClock clock;
    const absl::Duration deadline = clock.Elapsed() + absl::Seconds(60);
    do {
      ExpectWhole(SubmitAll());
      if (HasFailure()) return ::testing::AssertionFailure() << "other tokens";
      if (clock.Elapsed() > deadline) return ::testing::AssertionFailure() << "it never came";
    } while (!done());
    return ::testing::AssertionSuccess();
  }
};

TEST_F(BalanceTest, StrictAnswersAreEqualBeforeDuringAndAfterMoves) {
  TestClusterOptions options{.shard_count = 3};
  options.router.dispatch.strict = true;
  options.router.balance.moves = false;  // before it is told to
  Start(options);
  ASSERT_TRUE(TrafficUntil([] { return true; }));  // before
  EXPECT_EQ(Total("tessera_router_balance_rounds_total"), 0);
  ASSERT_TRUE(cluster_->router().cluster().TriggerBalance(true).ok());
  // During, until at least one round with its moves is done.
  ASSERT_TRUE(TrafficUntil([&] {
    return Total("tessera_router_balance_rounds_total") >= 1 &&
           Total("tessera_router_balance_moves_pending") == 0;
  }));
  EXPECT_GE(Total("tessera_router_unit_loads_total"), 1);
  ASSERT_TRUE(TrafficUntil([] { return true; }));  // after
  EXPECT_EQ(Total("tessera_router_unit_load_failures_total"), 0);
}

TEST_F(BalanceTest, AShardThatJoinsIsGivenUnitsAndServes) {
  TestClusterOptions options{.shard_count = 2};
  options.router.balance = Eager();
  Start(options);
  ASSERT_TRUE(cluster_->fleet().Start(2).ok());
  ASSERT_TRUE(TrafficUntil([&] { return UnitsAt(2) >= 4; }));
  const double rows = cluster_->router().OfShard("tessera_router_shard_rows_total", 2);
  ASSERT_TRUE(TrafficUntil(
      [&] { return cluster_->router().OfShard("tessera_router_shard_rows_total", 2) > rows; }));
  // It leaves again: a burst shard holds replicas only, so nothing has to be loaded first.
  cluster_->fleet().Stop(2);
  ASSERT_TRUE(TrafficUntil([&] { return UnitsAt(2) == 0; }));
  EXPECT_TRUE(cluster_->router().cluster().Coverage().ok());
}

TEST_F(BalanceTest, AShardThatDiesAmidMovesCostsNoRequest) {
  TestClusterOptions options{.shard_count = 2};
  options.router.balance = Eager();
  options.router.balance.bytes_per_second_max = 200'000;  // so that it dies in the middle
  Start(options);
  ASSERT_TRUE(cluster_->fleet().Start(2).ok());
  ASSERT_TRUE(TrafficUntil([&] { return UnitsAt(2) >= 1; }));
  cluster_->fleet().Kill(2);
  ASSERT_TRUE(TrafficUntil([&] { return UnitsAt(2) == 0; }));
  EXPECT_TRUE(cluster_->router().cluster().Coverage().ok());
}

TEST_F(BalanceTest, FrozenItLooksAndMovesNothing) {
  TestClusterOptions options{.shard_count = 3};
  options.router.balance = Eager();
  Start(options);
  ASSERT_TRUE(cluster_->router().cluster().FreezeBalance(true).ok());
  const double loads = Total("tessera_router_unit_loads_total");
  const double looks = Total("tessera_router_balance_looks_total");
  ASSERT_TRUE(TrafficUntil([&] {
    return Total("tessera_router_balance_looks_total") >= looks + 2 &&
           Total("tessera_router_balance_moves_pending") == 0;
  }));
  EXPECT_THAT(cluster_->router().cluster().BalanceReport(), HasSubstr("\"frozen\":true"));
  EXPECT_EQ(Total("tessera_router_unit_loads_total"), loads);
  EXPECT_EQ(Total("tessera_router_balance_frozen"), 1);
  ASSERT_TRUE(cluster_->router().cluster().FreezeBalance(false).ok());
}

TEST_F(BalanceTest, TheLeaderLearnsWhatAFollowerRoutes) {
  TestClusterOptions options{.shard_count = 2};
  options.router.balance = {.moves = false, .interval = absl::Milliseconds(300)};
  Start(options);
  auto follower = cluster_->StartFollower({});
  ASSERT_TRUE(follower.ok()) << follower.status();
  ASSERT_TRUE((*follower)->cluster().WaitUntilCovered(absl::Seconds(20)).ok());
  EXPECT_THAT(cluster_->router().cluster().BalanceReport(), HasSubstr("\"steps\":0,"));
  auto reader = (*follower)->Submit(Request(0));
  EXPECT_TRUE(reader->AwaitFinished().error.ok());
  EXPECT_TRUE(WaitUntil([&] {
    const std::string report = cluster_->router().cluster().BalanceReport();
    return report.find("\"steps\":0,") == std::string::npos;
  }));
}

TEST_F(BalanceTest, AFollowerLeavesTheBalanceToItsLeader) {
  Start({.shard_count = 2});
  auto follower = cluster_->StartFollower({});
  ASSERT_TRUE(follower.ok()) << follower.status();
  EXPECT_EQ((*follower)->cluster().TriggerBalance(true).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ((*follower)->cluster().FreezeBalance(true).code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace tessera
