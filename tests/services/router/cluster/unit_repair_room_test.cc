// Who makes room, what is kept, what burst shards are given.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/services/router/cluster/repair_fixture.h"

namespace tessera::router {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using wire::HeldUnit;

TEST_F(RepairTest, ASoleCopyInASpareSlotMakesNoRoom) {
  UnitRepair repair(Config());
  Add(0, {0, 1, 2}, 3);
  shards_[ShardId{0}].slots_spare = 1;  // 2 was loaded, and is held nowhere else
  Add(1, {1}, 1);
  Add(2, {3}, 1);
  Next(repair);
  down_.insert(ShardId{2});  // nobody has a slot for 3
  repair.Want(kLayer, std::vector{ExpertId{3}}, {}, now_);
  const RepairActions actions = Next(repair);
  EXPECT_EQ(repair.unplaceable(), 1u);
  ASSERT_EQ(HiddenBy(actions), 1u) << "one of the two copies of 1";
  EXPECT_THAT(actions.hide[0].second, ElementsAre(U(1)));
}

TEST_F(RepairTest, WhileSurplusIsOnItsWayOutRoomIsBeingMade) {
  UnitRepair repair(Config());
  Add(0, {0, 1}, 2);
  Add(1, {0, 1}, 2);
  Add(2, {2, 3}, 6);
  Next(repair);
  EXPECT_FALSE(repair.makes_room());
  leaving_.insert(ShardId{2});
  RepairActions actions = Next(repair);
  EXPECT_EQ(repair.unplaceable(), 2u);
  EXPECT_FALSE(repair.busy());
  EXPECT_EQ(HiddenBy(actions), 2u);
  EXPECT_TRUE(repair.makes_room()) << "hidden, not yet dropped";
  Obey(repair, actions);
  for (int round = 0; round < 3; ++round) {
    now_ += absl::Seconds(1);
    Obey(repair, Next(repair));
    EXPECT_TRUE(repair.unplaceable() == 0 || repair.makes_room()) << round;
  }
  EXPECT_EQ(repair.without_copy(), 0u);
  Next(repair);
  EXPECT_FALSE(repair.makes_room());
  EXPECT_EQ(repair.unplaceable(), 0u);
}

TEST_F(RepairTest, SurplusOnAShardThatLeavesMakesNoRoom) {
  UnitRepair repair(Config());
  Add(0, {0, 1}, 2);
  Add(1, {2}, 1);
  Add(2, {3, 0}, 2);
  shards_[ShardId{2}].slots_spare = 1;  // 0 was loaded there in need
  Next(repair);
  leaving_.insert(ShardId{2});
  Next(repair);
  EXPECT_EQ(repair.unplaceable(), 1u);
  EXPECT_FALSE(repair.makes_room());
}

TEST_F(RepairTest, AShardThatWorksOnAnOrderMayHaveRoomLater) {
  UnitRepair repair(Config());
  Add(0, {0, 1}, 2);
  Add(1, {1, 2}, 6);
  Add(2, {3}, 1);
  Next(repair);
  down_.insert(ShardId{2});
  busy_.insert(ShardId{1});  // with the balancer's moves
  repair.Want(kLayer, std::vector{ExpertId{3}}, {}, now_);
  RepairActions actions = Next(repair);
  EXPECT_THAT(actions.orders, IsEmpty());
  EXPECT_EQ(repair.unplaceable(), 0u);
  EXPECT_EQ(HiddenBy(actions), 0u);
  busy_.clear();
  actions = Next(repair);
  ASSERT_THAT(actions.orders, SizeIs(1));
  EXPECT_EQ(actions.orders[0].shard, ShardId{1});
}

TEST_F(RepairTest, CopiesMadeForBalanceOutliveAnAbsenceOfTheirShard) {
  UnitRepair repair(Config());
  Add(0, {0, 1, 2}, 3);
  shards_[ShardId{0}].slots_spare = 1;
  Add(1, {2, 3}, 2);
  repair.Keep(ShardId{0}, 1, U(2));
  Next(repair);
  const wire::ShardDescriptor away = shards_[ShardId{0}];
  shards_.erase(ShardId{0});
  Next(repair);
  now_ += absl::Seconds(5);
  Next(repair);
  shards_[ShardId{0}] = away;
  Next(repair);
  now_ += absl::Minutes(1);
  EXPECT_EQ(HiddenBy(Next(repair)), 0u);
  // Away for longer, or in another life, it holds what it holds for another reason.
  shards_.erase(ShardId{0});
  Next(repair);
  now_ += absl::Minutes(1);
  Next(repair);
  shards_[ShardId{0}] = away;
  Next(repair);
  now_ += absl::Minutes(1);
  EXPECT_EQ(HiddenBy(Next(repair)), 1u);
}

TEST_F(RepairTest, ALeaderThatStartsAnewLeavesABalancersCopiesWhereTheyAre) {
  UnitRepairConfig config = Config();
  config.adopts = false;
  UnitRepair repair(config);
  Add(0, {0, 1, 2}, 3);
  shards_[ShardId{0}].slots_spare = 1;
  Add(1, {1, 2}, 2);
  Add(2, {3}, 1);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(HiddenBy(Next(repair)), 0u);
    now_ += absl::Minutes(1);
  }
  down_.insert(ShardId{2});
  repair.Want(kLayer, std::vector{ExpertId{3}}, {}, now_);
  EXPECT_EQ(HiddenBy(Next(repair)), 1u) << "but they make room";
}

TEST_F(RepairTest, ACopyThatStandsInTheMapAgainIsNotDropped) {
  UnitRepair repair(Config());
  Add(0, {0, 1, 2}, 6);
  shards_[ShardId{0}].slots_spare = 4;
  Add(1, {2, 3}, 2);
  Next(repair);
  now_ += absl::Seconds(10);
  RepairActions actions = Next(repair);
  ASSERT_EQ(HiddenBy(actions), 1u);
  Obey(repair, actions);
  now_ += absl::Seconds(1);
  hidden_.clear();  // its shard registered again
  actions = Next(repair);
  EXPECT_THAT(actions.orders, IsEmpty());
  ASSERT_EQ(HiddenBy(actions), 1u);
  Obey(repair, actions);
  now_ += absl::Seconds(1);
  EXPECT_THAT(Next(repair).orders, SizeIs(1));
}

class BurstTest : public RepairTest {
 protected:
  // Shards 0 and 1 stay, 2 may go at any time.
  void SetUp() override {
    Add(0, {0, 1});
    Add(1, {2, 3});
    Add(2, {});
    shards_[ShardId{2}].burst = true;
    Next(repair_);
  }
  void LoseShard1() {
    down_.insert(ShardId{1});
    Next(repair_);
    now_ += absl::Seconds(1);
  }
  UnitRepair repair_{Config()};
};

TEST_F(BurstTest, WhatIsLostIsRestoredOnAShardThatStays) {
  LoseShard1();
  for (int round = 0; round < 4; ++round) Obey(repair_, Next(repair_)), now_ += absl::Seconds(1);
  EXPECT_EQ(HeldBy(0), 4u);
  EXPECT_EQ(HeldBy(2), 0u) << "though it holds the fewest";
}

TEST_F(BurstTest, AStepThatWaitsIsHelpedByWhoeverHasASlotAndThatIsNotTheEnd) {
  shards_[ShardId{0}].slot_count = 2;
  LoseShard1();
  RepairActions actions = Next(repair_);
  EXPECT_THAT(actions.orders, IsEmpty()) << "nobody waits, and a burst shard may go";
  EXPECT_EQ(repair_.unplaceable(), 2u);
  repair_.Want(kLayer, std::vector{ExpertId{2}}, {}, now_);
  actions = Next(repair_);
  ASSERT_THAT(actions.orders, SizeIs(1));
  EXPECT_EQ(actions.orders[0].shard, ShardId{2});
  Obey(repair_, actions);
  shards_[ShardId{0}].slot_count = 3;
  now_ += absl::Seconds(1);
  actions = Next(repair_);
  EXPECT_FALSE(repair_.idle());
  ASSERT_THAT(actions.orders, SizeIs(1)) << "a copy on a burst shard is none for later";
  EXPECT_EQ(actions.orders[0].shard, ShardId{0});
  EXPECT_EQ(actions.orders[0].order.load[0].expert, ExpertId{2});
}

TEST_F(BurstTest, ABaseCopyIsNotSurplusBecauseABurstShardHasOne) {
  shards_[ShardId{0}].slots_spare = 6;  // as if it had loaded both
  shards_[ShardId{2}].held = {{kLayer, ExpertId{0}, 0, 1}};
  Next(repair_);
  now_ += absl::Seconds(10);
  EXPECT_EQ(HiddenBy(Next(repair_)), 0u);
  shards_[ShardId{1}].held.push_back({kLayer, ExpertId{0}, 2, 1});
  Next(repair_);
  now_ += absl::Seconds(10);
  EXPECT_EQ(HiddenBy(Next(repair_)), 1u);
}

TEST_F(BurstTest, ALeaderThatStartsLeavesThemTheirCopies) {
  shards_[ShardId{2}].slots_spare = 8;
  shards_[ShardId{2}].held = {{kLayer, ExpertId{0}, 0, 1}, {kLayer, ExpertId{2}, 1, 1}};
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(HiddenBy(Next(repair_)), 0u);
    now_ += absl::Minutes(1);
  }
}

TEST_F(BurstTest, ADrainMovesWhatOnlyBurstShardsWouldHold) {
  shards_[ShardId{2}].held = {{kLayer, ExpertId{2}, 0, 1}, {kLayer, ExpertId{3}, 1, 1}};
  leaving_.insert(ShardId{1});
  const RepairActions actions = Next(repair_);
  ASSERT_THAT(actions.orders, SizeIs(1));
  EXPECT_EQ(actions.orders[0].shard, ShardId{0});
  EXPECT_THAT(actions.orders[0].order.load, SizeIs(2));
  std::vector<PlacedUnit> units;
  std::vector<RepairShard> shards;
  for (const auto& [id, shard] : shards_) {
    shards.push_back({&shard, true, leaving_.contains(id)});
    for (const HeldUnit& held : shard.held) {
      units.push_back({held.layer, held.expert, {id, held.slot, 1}});
    }
  }
  const auto placement = Placement::Build(Epoch{1}, {2, 4}, units);
  ASSERT_TRUE(placement.ok());
  EXPECT_EQ(UnitRepair::OnlyOn(ShardId{1}, *placement, shards), 2u);
  EXPECT_EQ(UnitRepair::OnlyOn(ShardId{2}, *placement, shards), 2u) << "1 leaves";
  shards[1].leaving = false;
  EXPECT_EQ(UnitRepair::OnlyOn(ShardId{2}, *placement, shards), 0u);
}

TEST_F(RepairTest, WhereAllAreBurstShardsTheyStay) {
  UnitRepair repair(Config());
  for (const uint32_t id : {0u, 1u}) {
    Add(id, {2 * id, 2 * id + 1});
    shards_[ShardId{id}].burst = true;
  }
  Next(repair);
  EXPECT_TRUE(repair.idle());
  down_.insert(ShardId{1});
  Next(repair);
  now_ += absl::Seconds(1);
  EXPECT_THAT(Next(repair).orders, SizeIs(1));
}

}  // namespace
}  // namespace tessera::router
