#include "services/router/tally/expert_tally.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::router {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::Duration kNow = absl::Seconds(50);

// Layers 1 and 3 of four experts, top-2.
ExpertTally Tally() { return ExpertTally({LayerIndex{1}, LayerIndex{3}}, 4); }

const std::vector<uint32_t> kThreeRows = {0, 1, 1, 3, 0, 1};

TEST(ExpertTallyTest, ACommittedStepCounts) {
  ExpertTally tally = Tally();
  tally.CountRouting(LayerIndex{1}, kThreeRows);
  tally.CountAnswer({LayerIndex{1}, ShardId{7}, 4, 1});
  tally.CountAnswer({LayerIndex{1}, ShardId{2}, 2, 1});
  tally.CountRouting(LayerIndex{3}, std::vector<uint32_t>{2, 3});
  tally.CountAnswer({LayerIndex{3}, ShardId{2}, 2, 1});
  EXPECT_THAT(tally.Totals().rows, ElementsAre(0, 0, 0, 0, 0, 0, 0, 0));
  tally.Commit(kNow);

  for (const ExpertTally::Counts& counts : {tally.Window(kNow), tally.Totals()}) {
    EXPECT_THAT(counts.rows, ElementsAre(2, 3, 0, 1, 0, 0, 1, 1));
    ASSERT_THAT(counts.shards, SizeIs(2));
    EXPECT_EQ(counts.shards[0].shard, ShardId{2});
    EXPECT_THAT(counts.shards[0].layer_rows, ElementsAre(2, 2));
    EXPECT_EQ(counts.shards[1].shard, ShardId{7});
    EXPECT_THAT(counts.shards[1].layer_rows, ElementsAre(4, 0));
  }
  const ExpertTally::Counts later = tally.Window(kNow + ExpertTally::window());
  EXPECT_THAT(later.rows, ElementsAre(0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(later.shards[0].layer_rows, ElementsAre(0, 0));
}

TEST(ExpertTallyTest, AnAbortedStepDoesNot) {
  ExpertTally tally = Tally();
  tally.CountRouting(LayerIndex{1}, kThreeRows);
  tally.CountAnswer({LayerIndex{1}, ShardId{0}, 6, 1});
  tally.Abort();
  tally.CountRouting(LayerIndex{1}, std::vector<uint32_t>{0, 1});
  tally.CountAnswer({LayerIndex{1}, ShardId{1}, 2, 1});
  tally.Commit(kNow);
  tally.Commit(kNow);  // nothing is left to count
  const ExpertTally::Counts counts = tally.Totals();
  EXPECT_THAT(counts.rows, ElementsAre(1, 1, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(counts.shards[0].layer_rows, ElementsAre(0, 0));
  EXPECT_THAT(counts.shards[1].layer_rows, ElementsAre(2, 0));
}

TEST(ExpertTallyTest, ALayerThatIsGatedAgainCountsOnce) {
  ExpertTally tally = Tally();
  tally.CountRouting(LayerIndex{3}, kThreeRows);
  tally.CountRouting(LayerIndex{3}, std::vector<uint32_t>{1, 2});
  tally.Commit(kNow);
  EXPECT_THAT(tally.Totals().rows, ElementsAre(0, 0, 0, 0, 0, 1, 1, 0));
  EXPECT_THAT(tally.Totals().shards, IsEmpty());
}

TEST(ExpertTallyTest, StepsTouchesAndHowTheySpread) {
  ExpertTally tally = Tally();
  tally.SetShardCount(4);
  tally.CountRouting(LayerIndex{1}, std::vector<uint32_t>{0, 2, 0, 1, 0, 2});
  tally.CountAnswer({LayerIndex{1}, ShardId{7}, 4, 1});
  tally.CountAnswer({LayerIndex{1}, ShardId{2}, 2, 1});
  tally.Commit(kNow);
  tally.CountRouting(LayerIndex{1}, std::vector<uint32_t>{0, 1});
  tally.CountRouting(LayerIndex{3}, std::vector<uint32_t>{});  // no row came so far
  tally.CountAnswer({LayerIndex{1}, ShardId{2}, 2, 1});
  tally.Commit(kNow);
  tally.CountRouting(LayerIndex{1}, std::vector<uint32_t>{3});
  tally.Abort();

  const ExpertTally::StepCounts steps = tally.Steps();
  EXPECT_THAT(steps.rows, ElementsAre(4, 2, 2, 0, 0, 0, 0, 0));
  EXPECT_THAT(steps.touches, ElementsAre(2, 2, 1, 0, 0, 0, 0, 0));
  EXPECT_THAT(steps.steps, ElementsAre(2, 0));
  const ExpertTally::Spread spread = tally.ReadSpread();
  EXPECT_THAT(spread.steps, ElementsAre(2, 0));
  // 6 pairs over 4 shards, the most loaded has 4; 2 pairs, all on one.
  EXPECT_THAT(spread.step_balances, ElementsAre(6.0 / 4 / 4 + 2.0 / 4 / 2, 0.0));
  ASSERT_EQ(spread.shards.size(), 2u);
  EXPECT_THAT(spread.shards[0].layer_rows, ElementsAre(4, 0));
}

TEST(BalanceTest, Formulas) {
  const Balance even = BalanceOf(std::vector<uint64_t>{5, 5, 5, 5});
  EXPECT_THAT(even.mean_to_max, DoubleEq(1));
  EXPECT_THAT(even.jain_index, DoubleEq(1));
  const Balance one = BalanceOf(std::vector<uint64_t>{0, 8, 0, 0});
  EXPECT_THAT(one.mean_to_max, DoubleEq(0.25));
  EXPECT_THAT(one.max_to_mean, DoubleEq(4));
  EXPECT_THAT(one.jain_index, DoubleEq(0.25));
  const Balance some = BalanceOf(std::vector<uint64_t>{1, 3});
  EXPECT_THAT(some.mean_to_max, DoubleEq(2.0 / 3));
  EXPECT_THAT(some.max_to_mean, DoubleEq(1.5));
  EXPECT_THAT(some.jain_index, DoubleEq(0.8));
  EXPECT_THAT(BalanceOf(std::vector<uint64_t>{0, 0}).jain_index, DoubleEq(1));
  EXPECT_THAT(BalanceOf({}).mean_to_max, DoubleEq(1));
}

}  // namespace
}  // namespace tessera::router
