#include "services/router/cluster/unit_migration.h"

#include <gtest/gtest.h>

#include "tests/services/router/cluster/migration_world.h"

namespace tessera::router {
namespace {

using Stage = UnitMigration::Stage;
using World = MigrationWorld;

// Details that the exploration does not name.
class MigrationTest : public ::testing::Test {
 protected:
  RepairActions Next(absl::Duration now, bool quiet = true) {
    described_ = world_.Described();
    known_.clear();
    for (const auto& shard : described_) known_.push_back({.shard = &shard, .usable = true});
    RepairActions actions = migration_.Next(world_.MapNow(), known_, quiet, now);
    for (const auto& [id, units] : actions.hide) {
      for (const Unit& unit : units) {
        world_.shards.at(ToIndex(id)).hidden.insert(static_cast<uint32_t>(ToIndex(unit.second)));
      }
    }
    return actions;
  }

  World world_ = Begin({{0, 1, 2}, {}, {}}, 4);
  UnitMigration migration_{{.shards_max = 1, .units_max = 2, .bytes_per_second_max = 77}};
  std::vector<wire::ShardDescriptor> described_;
  std::vector<RepairShard> known_;
};

TEST_F(MigrationTest, OrdersAreBoundedAndPaced) {
  migration_.Begin({Copy(0, 1), Copy(1, 1), Copy(2, 1), Copy(0, 2)}, absl::ZeroDuration());
  const RepairActions actions = Next(absl::ZeroDuration());
  ASSERT_EQ(actions.orders.size(), 1u);  // one shard reads at a time
  EXPECT_EQ(actions.orders[0].order.load.size(), 2u);
  EXPECT_EQ(actions.orders[0].order.bytes_per_second_max, 77u);
  EXPECT_TRUE(migration_.WorksOn(ShardId{1}));
  EXPECT_TRUE(Next(absl::ZeroDuration()).orders.empty());
}

TEST_F(MigrationTest, ADropWaitsForQuietViewsAndItsDelay) {
  world_ = Begin({{0, 1, 2}, {0}, {}}, 4);
  migration_.Begin({Drop(0, 0)}, absl::ZeroDuration());
  EXPECT_EQ(Next(absl::ZeroDuration()).hide.size(), 1u);
  EXPECT_TRUE(Next(absl::Milliseconds(500)).orders.empty());
  EXPECT_TRUE(Next(absl::Seconds(2), /*quiet=*/false).orders.empty());
  const RepairActions actions = Next(absl::Seconds(2));
  ASSERT_EQ(actions.orders.size(), 1u);
  EXPECT_EQ(actions.orders[0].order.drop.size(), 1u);
}

TEST_F(MigrationTest, WhatFindsNoSlotForTooLongIsGivenUp) {
  world_ = Begin({{0, 1, 2}, {}}, 0);
  migration_.Begin({Copy(0, 1)}, absl::ZeroDuration());
  Next(absl::Seconds(1));
  EXPECT_FALSE(migration_.idle());
  EXPECT_EQ(migration_.progress_at(), absl::ZeroDuration());
  Next(absl::Minutes(1));
  EXPECT_TRUE(migration_.idle());
  EXPECT_EQ(migration_.CountOf(Stage::kFailed), 1u);
}

TEST_F(MigrationTest, AMoveThatCannotEndPutsItsCopyBack) {
  world_ = Begin({{0, 1, 2}, {0}, {}}, 4);
  migration_.Begin({Drop(0, 0)}, absl::ZeroDuration());
  EXPECT_EQ(Next(absl::ZeroDuration()).hide.size(), 1u);
  EXPECT_TRUE(Next(absl::Seconds(20), /*quiet=*/false).unhide.empty());
  const RepairActions actions = Next(absl::Seconds(31), /*quiet=*/false);
  ASSERT_EQ(actions.unhide.size(), 1u);
  EXPECT_EQ(actions.unhide[0].first, ShardId{0});
  EXPECT_EQ(migration_.CountOf(Stage::kFailed), 1u);
  EXPECT_TRUE(migration_.idle());
}

TEST_F(MigrationTest, ADropThatFailsIsRepeatedWithGrowingPausesAndThenGivenUp) {
  world_ = Begin({{0, 1, 2}, {0}, {}}, 4);
  migration_.Begin({Drop(0, 0)}, absl::ZeroDuration());
  Next(absl::ZeroDuration());
  size_t orders = 0;
  absl::Duration last;
  absl::Duration pause;
  for (absl::Duration now; now < absl::Minutes(2) && !migration_.idle();
       now += absl::Milliseconds(50)) {
    if (Next(now).orders.empty()) continue;
    if (++orders > 1) {
      EXPECT_GE(now - last, pause);
      pause = now - last;
    }
    last = now;
    migration_.Finished(ShardId{0}, absl::UnavailableError("the link broke"), now);
  }
  EXPECT_TRUE(migration_.idle());
  EXPECT_EQ(migration_.CountOf(Stage::kFailed), 1u);
  EXPECT_GE(orders, 4u);
  EXPECT_LE(orders, 10u);
}

TEST_F(MigrationTest, CancelFinishesWhatHasBegunAndNothingMore) {
  migration_.Begin({Move(0, 0, 1), Move(1, 0, 1), Move(2, 0, 1)}, absl::ZeroDuration());
  EXPECT_EQ(Next(absl::ZeroDuration()).orders.size(), 1u);
  migration_.Cancel();
  EXPECT_EQ(migration_.CountOf(Stage::kFailed), 1u);
  EXPECT_EQ(migration_.CountOf(Stage::kLoading), 2u);
  EXPECT_FALSE(migration_.idle());
}

}  // namespace
}  // namespace tessera::router
