#include "services/router/cluster/unit_repair.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "tests/services/router/cluster/repair_fixture.h"

namespace tessera::router {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using wire::HeldUnit;

TEST_F(RepairTest, NothingIsDoneWhileEveryUnitHasACopy) {
  UnitRepair repair(Config());
  Add(0, {0, 1});
  Add(1, {2, 3});
  const RepairActions actions = Next(repair);
  EXPECT_THAT(actions.orders, IsEmpty());
  EXPECT_EQ(repair.copies_min(), 1u);
  EXPECT_EQ(repair.without_copy(), 0u);
  EXPECT_TRUE(repair.idle());
}

TEST_F(RepairTest, UnitsNeverHeldAreNotRestoredUnasked) {
  UnitRepair repair(Config());
  Add(0, {0, 1});
  now_ += absl::Hours(1);
  EXPECT_THAT(Next(repair).orders, IsEmpty());
  EXPECT_EQ(repair.without_copy(), 2u);
  repair.Want(kLayer, std::vector{ExpertId{2}}, {}, now_);
  EXPECT_THAT(Next(repair).orders, SizeIs(1)) << "but loaded when a step waits";
}

TEST_F(RepairTest, WantedUnitsGoToWhoHoldsTheFewestInFreeSlots) {
  UnitRepair repair(Config());
  Add(0, {0});
  Add(1, {0, 1});
  repair.Want(kLayer, std::vector{ExpertId{2}, ExpertId{3}, ExpertId{99}}, {}, now_);
  repair.Want(LayerIndex{0}, std::vector{ExpertId{2}}, {}, now_);  // no MoE layer
  const RepairActions actions = Next(repair);
  ASSERT_THAT(actions.orders, SizeIs(2)) << "one each: the first has as many after it";
  EXPECT_THAT(actions.orders[0].order.load, ElementsAre(UnitToLoad{kLayer, ExpertId{2}, 1}));
  EXPECT_THAT(actions.orders[1].order.load, ElementsAre(UnitToLoad{kLayer, ExpertId{3}, 2}));
  EXPECT_TRUE(repair.busy());
}

TEST_F(RepairTest, WhileAShardLoadsTheNextOrderCollects) {
  UnitRepair repair(Config());
  Add(0, {0});
  repair.Want(kLayer, std::vector{ExpertId{1}}, {}, now_);
  const RepairActions first = Next(repair);
  ASSERT_THAT(first.orders, SizeIs(1));
  repair.Want(kLayer, std::vector{ExpertId{1}, ExpertId{2}}, {}, now_);
  repair.Want(kLayer, std::vector{ExpertId{3}}, {}, now_);
  EXPECT_THAT(Next(repair).orders, IsEmpty());
  Obey(repair, first);
  const RepairActions second = Next(repair);
  ASSERT_THAT(second.orders, SizeIs(1));
  EXPECT_THAT(second.orders[0].order.load, SizeIs(2)) << "experts 2 and 3; 1 is there";
}

// Its checkpoint is gone, perhaps, and nobody it could ask has the unit.
TEST_F(RepairTest, AUnitAShardCouldNotLoadGoesToAnotherIfThereIsOne) {
  UnitRepair repair(Config());
  Add(0, {0});
  Add(1, {0, 1});
  const auto next_for = [&] {
    repair.Want(kLayer, std::vector{ExpertId{2}}, {}, now_);
    const RepairActions actions = Next(repair);
    EXPECT_THAT(actions.orders, SizeIs(1));
    const ShardId shard = actions.orders.at(0).shard;
    repair.Finished(shard, absl::DataLossError("its file was cut"), now_);
    now_ += Config().retry_pause;
    return shard;
  };
  EXPECT_EQ(next_for(), ShardId{0}) << "it holds the fewest";
  EXPECT_EQ(next_for(), ShardId{1});
  EXPECT_EQ(next_for(), ShardId{0}) << "both failed, so both are asked again";
  now_ += Config().failure_memory;
  EXPECT_EQ(next_for(), ShardId{0}) << "forgotten";
}

TEST_F(RepairTest, EachFailureAsksAnotherHolder) {
  UnitRepairConfig config = Config();
  config.copies_wanted = 3;
  config.restore_thin = true;
  UnitRepair repair(config);
  for (uint32_t id = 0; id < 3; ++id) {
    Add(id, id < 2 ? std::vector<uint32_t>{0, 1, 2, 3} : std::vector<uint32_t>{1, 2, 3});
    shards_[ShardId{id}].grpc_address = std::to_string(id);
  }
  const auto peer = [&] {
    const RepairActions actions = Next(repair);
    EXPECT_THAT(actions.orders, SizeIs(1));
    EXPECT_EQ(actions.orders.at(0).shard, ShardId{2});
    repair.Finished(ShardId{2}, absl::UnavailableError("the peer died"), now_);
    now_ += config.retry_pause;
    return actions.orders.at(0).order.load.at(0).peer;
  };
  EXPECT_EQ(peer(), "0");
  EXPECT_EQ(peer(), "1");
  EXPECT_EQ(peer(), "0");
}

TEST_F(RepairTest, LostUnitsComeBackAfterAWhileAFewAtATimeWantedOnesFirst) {
  UnitRepair repair(Config());
  Add(0, {0, 1});
  Add(1, {2, 3});
  Next(repair);
  down_.insert(ShardId{1});
  EXPECT_THAT(Next(repair).orders, IsEmpty());
  now_ += absl::Milliseconds(499);
  EXPECT_THAT(Next(repair).orders, IsEmpty());
  now_ += absl::Milliseconds(1);
  repair.Want(kLayer, std::vector{ExpertId{3}}, {}, now_);
  RepairActions actions = Next(repair);
  ASSERT_THAT(actions.orders, SizeIs(1));
  EXPECT_THAT(actions.orders[0].order.load, ElementsAre(UnitToLoad{kLayer, ExpertId{3}, 2}));
  Obey(repair, actions);
  actions = Next(repair);
  ASSERT_THAT(actions.orders, SizeIs(1));
  EXPECT_THAT(actions.orders[0].order.load, ElementsAre(UnitToLoad{kLayer, ExpertId{2}, 3}));
}

TEST_F(RepairTest, WishesEndIfNotRepeated) {
  UnitRepair repair(Config());
  Add(0, {0}, /*slot_count=*/1);
  repair.Want(kLayer, std::vector{ExpertId{1}}, {}, now_);
  Next(repair);
  EXPECT_EQ(repair.unplaceable(), 1u);
  now_ += absl::Seconds(6);
  Next(repair);
  EXPECT_EQ(repair.unplaceable(), 0u);
}

TEST_F(RepairTest, AfterAFailureAPauseAndAnotherSlot) {
  UnitRepair repair(Config());
  Add(0, {0});
  repair.Want(kLayer, std::vector{ExpertId{1}}, {}, now_);
  ASSERT_THAT(Next(repair).orders, SizeIs(1));
  repair.Finished(ShardId{0}, absl::ResourceExhaustedError("slot taken"), now_);
  EXPECT_THAT(Next(repair).orders, IsEmpty());
  now_ += absl::Milliseconds(250);
  const RepairActions again = Next(repair);
  ASSERT_THAT(again.orders, SizeIs(1));
  EXPECT_EQ(again.orders[0].order.load[0].slot, 2u) << "slot 1 was refused";
}

TEST_F(RepairTest, ARouterThatStartsAgainWaitsForShardsThatHaveIt) {
  UnitRepairConfig config = Config();
  config.first_grace = absl::Seconds(1);
  UnitRepair repair(config);
  Add(0, {0, 1});
  repair.Want(kLayer, std::vector{ExpertId{2}}, {}, now_);
  EXPECT_THAT(Next(repair).orders, IsEmpty()) << "its shard may be on its way";
  Add(1, {2, 3});
  Next(repair);
  shards_.erase(ShardId{1});
  repair.Want(kLayer, std::vector{ExpertId{3}}, {}, now_);
  EXPECT_THAT(Next(repair).orders, SizeIs(1)) << "it was here and went";
  now_ += absl::Seconds(1);
  UnitRepair late(config);
  Next(late);
  now_ += absl::Seconds(1);
  late.Want(kLayer, std::vector{ExpertId{2}}, {}, now_);
  EXPECT_THAT(Next(late).orders, SizeIs(1)) << "nobody came";
}

TEST_F(RepairTest, FollowersFillFromTheTopAndDropNothing) {
  UnitRepairConfig config = Config();
  config.slots_from_top = true;
  config.drops = false;
  UnitRepair repair(config);
  Add(0, {0});
  repair.Want(kLayer, std::vector{ExpertId{1}}, {}, now_);
  const RepairActions actions = Next(repair);
  ASSERT_THAT(actions.orders, SizeIs(1));
  EXPECT_EQ(actions.orders[0].order.load[0].slot, 5u);
  Obey(repair, actions);
  Add(1, {1, 2, 3});
  Next(repair);
  now_ += absl::Hours(1);
  EXPECT_THAT(Next(repair).hide, IsEmpty());
}

TEST_F(RepairTest, WhatALeavingShardHoldsAloneIsLoadedElsewhere) {
  UnitRepair repair(Config());
  Add(0, {0, 1});
  Add(1, {1, 2, 3});
  Next(repair);
  leaving_.insert(ShardId{1});
  const RepairActions actions = Next(repair);
  ASSERT_THAT(actions.orders, SizeIs(1));
  EXPECT_EQ(actions.orders[0].shard, ShardId{0});
  EXPECT_THAT(actions.orders[0].order.load, ElementsAre(UnitToLoad{kLayer, ExpertId{2}, 2, "a"},
                                                        UnitToLoad{kLayer, ExpertId{3}, 3, "a"}));
}

TEST_F(RepairTest, NoTwoCopiesOnOneShard) {
  UnitRepairConfig config = Config();
  config.copies_wanted = 2;
  config.restore_thin = true;
  UnitRepair repair(config);
  Add(0, {0, 1, 2, 3}, 16);
  EXPECT_THAT(Next(repair).orders, IsEmpty()) << "nobody else is there";
  Add(1, {}, 16);
  for (int round = 0; round < 8; ++round) Obey(repair, Next(repair)), now_ += absl::Seconds(1);
  EXPECT_EQ(HeldBy(0), 4u);
  EXPECT_EQ(HeldBy(1), 4u);
  EXPECT_EQ(repair.copies_min(), 2u);
}

TEST_F(RepairTest, ACopyOnABurstShardDoesNotHideThatAnExpertIsThin) {
  UnitRepairConfig config = Config();
  config.copies_wanted = 2;
  UnitRepair repair(config);
  Add(0, {0, 1, 2, 3}, 4);
  Add(1, {0, 1, 2}, 3);
  Add(2, {0, 1, 2, 3}, 4);
  shards_[ShardId{2}].burst = true;
  Next(repair);
  EXPECT_EQ(repair.copies_min(), 1u) << "two of the last live, one of them may go at any time";
  down_ = {ShardId{0}};
  Next(repair);
  EXPECT_EQ(repair.copies_min(), 1u) << "no step waits";
  down_ = {ShardId{0}, ShardId{2}};
  Next(repair);
  EXPECT_EQ(repair.copies_min(), 0u);
}

TEST_F(RepairTest, WhatIsThinForAWhileIsCopiedOnAShardThatStaysAndNotMissedWhereNoneHasRoom) {
  UnitRepairConfig config = Config();
  config.copies_wanted = 2;
  config.restore_thin = true;
  config.restore_thin_after = absl::Seconds(10);
  UnitRepair repair(config);
  Add(0, {0, 1, 2, 3}, 4);
  Add(1, {0, 1, 2, 3}, 4);
  Add(2, {}, 8);
  shards_[ShardId{2}].burst = true;
  EXPECT_THAT(Next(repair).orders, IsEmpty());
  EXPECT_TRUE(repair.idle());
  down_ = {ShardId{1}};
  for (int second = 0; second < 20; ++second) {
    EXPECT_THAT(Next(repair).orders, IsEmpty()) << "nobody who stays has room";
    now_ += absl::Seconds(1);
  }
  EXPECT_EQ(repair.unplaceable(), 0u);
  EXPECT_EQ(repair.copies_min(), 1u);
  Add(3, {}, 8);
  const RepairActions actions = Next(repair);
  ASSERT_THAT(actions.orders, SizeIs(1));
  EXPECT_EQ(actions.orders[0].shard, ShardId{3});
  Obey(repair, actions);
  for (int round = 0; round < 8; ++round) Obey(repair, Next(repair)), now_ += absl::Seconds(1);
  EXPECT_EQ(HeldBy(3), 4u);
  // The lost one is back: what was made meanwhile goes.
  down_.clear();
  for (int round = 0; round < 60; ++round) Obey(repair, Next(repair)), now_ += absl::Seconds(1);
  EXPECT_EQ(HeldBy(3), 0u);
  EXPECT_EQ(HeldBy(1), 4u);
}

TEST_F(RepairTest, SurplusMakesRoomAtOnceForUnitsThatHaveNone) {
  Add(0, {0}, 2);
  Add(1, {1}, 1);
  Add(2, {2, 3}, 2);
  UnitRepair repair(Config());
  Next(repair);
  down_ = {ShardId{1}};
  repair.Want(kLayer, std::vector{ExpertId{1}}, {}, now_);
  Obey(repair, Next(repair));
  EXPECT_EQ(HeldBy(0), 2u);
  down_ = {ShardId{2}};
  repair.Want(kLayer, std::vector{ExpertId{2}}, {}, now_);
  RepairActions actions = Next(repair);
  EXPECT_EQ(repair.unplaceable(), 1u);
  ASSERT_THAT(actions.hide, SizeIs(1)) << "long before the grace is over";
  EXPECT_THAT(actions.hide[0].second, ElementsAre(U(1)));
  Obey(repair, actions);
  now_ += absl::Seconds(1);
  actions = Next(repair);
  ASSERT_THAT(actions.orders, SizeIs(1));
  EXPECT_THAT(actions.orders[0].order.drop, SizeIs(1));
  Obey(repair, actions);
  now_ += absl::Seconds(1);
  actions = Next(repair);
  ASSERT_THAT(actions.orders, SizeIs(1));
  EXPECT_EQ(actions.orders[0].order.load[0].expert, ExpertId{2});
}

TEST_F(RepairTest, WhatASlowShardHoldsAloneIsLoadedElsewhere) {
  UnitRepair repair(Config());
  Add(0, {0, 1});
  Add(1, {2, 3});
  repair.Want(kLayer, std::vector{ExpertId{1}}, {}, now_);
  EXPECT_THAT(Next(repair).orders, IsEmpty()) << "it has a copy";
  const std::vector<ShardId> slow = {ShardId{0}};
  repair.Want(kLayer, std::vector{ExpertId{1}, ExpertId{2}}, slow, now_);
  const RepairActions actions = Next(repair);
  ASSERT_THAT(actions.orders, SizeIs(1)) << "2 lives on a shard that answers";
  EXPECT_EQ(actions.orders[0].shard, ShardId{1});
  EXPECT_THAT(actions.orders[0].order.load, ElementsAre(UnitToLoad{kLayer, ExpertId{1}, 2, "a"}));
  Obey(repair, actions);
  EXPECT_THAT(Next(repair).orders, IsEmpty()) << "the wish is fulfilled";
}

TEST_F(RepairTest, ASlowCopyWithoutRoomElsewhereIsNotMissing) {
  UnitRepair repair(Config());
  Add(0, {0, 1});
  Add(1, {2, 3}, /*slot_count=*/2);
  const std::vector<ShardId> slow = {ShardId{0}};
  repair.Want(kLayer, std::vector{ExpertId{1}}, slow, now_);
  EXPECT_THAT(Next(repair).orders, IsEmpty());
  EXPECT_EQ(repair.unplaceable(), 0u);
  EXPECT_EQ(repair.without_copy(), 0u);
}

TEST_F(RepairTest, CopiesGoToZonesThatHaveNone) {
  UnitRepairConfig config = Config();
  config.copies_wanted = 2;
  config.restore_thin = true;
  config.background_units_max = 4;
  for (const bool zones : {false, true}) {
    UnitRepair repair(config);
    Add(0, {0, 1, 2, 3});
    Add(1, {});
    Add(2, {0, 1});
    if (zones) {
      shards_[ShardId{0}].zone = shards_[ShardId{1}].zone = "rack 1";
      shards_[ShardId{2}].zone = "rack 2";
    }
    const RepairActions actions = Next(repair);
    ASSERT_THAT(actions.orders, SizeIs(1));
    EXPECT_EQ(actions.orders[0].shard, ShardId{zones ? 2u : 1u}) << "1 holds the fewest";
    EXPECT_THAT(actions.orders[0].order.load, SizeIs(2));
  }
}

// By a follower's order, or that of a leader before this one.
TEST_F(RepairTest, CopiesThatOthersOrderedGoAgainButNotThoseAShardBeganWith) {
  UnitRepair repair(Config());
  Add(0, {0, 1, 2}, 6);
  shards_[ShardId{0}].slots_spare = 4;  // 2 was loaded
  Add(1, {2, 3, 0}, 6);
  shards_[ShardId{1}].slots_spare = 3;  // it began with all three
  EXPECT_THAT(Next(repair).hide, IsEmpty()) << "not before the grace is over";
  now_ += absl::Seconds(10);
  RepairActions actions = Next(repair);
  ASSERT_THAT(actions.hide, SizeIs(1));
  EXPECT_EQ(actions.hide[0].first, ShardId{0});
  EXPECT_THAT(actions.hide[0].second, ElementsAre(U(2)));
  Obey(repair, actions);
  now_ += absl::Seconds(1);
  Obey(repair, Next(repair));
  EXPECT_EQ(HeldBy(0), 2u);
  EXPECT_EQ(HeldBy(1), 3u);
}

TEST_F(RepairTest, CopiesMadeForBalanceStayUntilTheirRoomIsNeeded) {
  UnitRepair repair(Config());
  Add(0, {0, 1, 2}, 3);
  shards_[ShardId{0}].slots_spare = 1;  // 2 came for balance
  Add(1, {1, 2}, 2);
  Add(2, {3}, 1);
  repair.Keep(ShardId{0}, 1, U(2));
  EXPECT_THAT(Next(repair).hide, IsEmpty());
  now_ += absl::Minutes(1);
  EXPECT_THAT(Next(repair).hide, IsEmpty());
  down_.insert(ShardId{2});  // nobody has a slot for 3
  repair.Want(kLayer, std::vector{ExpertId{3}}, {}, now_);
  const RepairActions actions = Next(repair);
  EXPECT_EQ(repair.unplaceable(), 1u);
  size_t hidden = 0;
  for (const auto& [shard, units] : actions.hide) hidden += units.size();
  EXPECT_EQ(hidden, 1u);
}

TEST_F(RepairTest, OfTwoCopiesInSpareSlotsOneStays) {
  UnitRepair repair(Config());
  for (uint32_t id : {0u, 1u}) {
    Add(id, {2 * id, 2 * id + 1}, 6);
    shards_[ShardId{id}].slots_spare = 6;
  }
  shards_[ShardId{0}].held.push_back({kLayer, ExpertId{2}, 5, 1});
  Next(repair);
  now_ += absl::Seconds(10);
  const RepairActions actions = Next(repair);
  size_t hidden = 0;
  for (const auto& [shard, units] : actions.hide) hidden += units.size();
  EXPECT_EQ(hidden, 1u);
}

TEST_F(RepairTest, WithOnlySoleCopiesInSpareSlotsThereIsNothingToDo) {
  UnitRepair repair(Config());
  Add(0, {0, 1});
  Add(1, {2, 3});
  Next(repair);
  down_.insert(ShardId{1});
  repair.Want(kLayer, std::vector{ExpertId{2}, ExpertId{3}}, {}, now_);
  Obey(repair, Next(repair));
  EXPECT_FALSE(repair.idle()) << "what was loaded may be superfluous by now";
  Next(repair);
  EXPECT_TRUE(repair.idle());
  down_.clear();
  Next(repair);
  EXPECT_FALSE(repair.idle()) << "a grace runs";
}

class SurplusTest : public RepairTest {
 protected:
  // Shard 1 is lost, 0 takes over, 1 returns.
  void SetUp() override {
    Add(0, {0, 1});
    Add(1, {2, 3});
    Next(repair_);
    down_.insert(ShardId{1});
    repair_.Want(kLayer, std::vector{ExpertId{2}, ExpertId{3}}, {}, now_);
    Obey(repair_, Next(repair_));
    EXPECT_EQ(HeldBy(0), 4u);
    down_.clear();
    EXPECT_THAT(Next(repair_).hide, IsEmpty()) << "not before the grace is over";
    now_ += absl::Seconds(10);
  }
  UnitRepair repair_{Config()};
};

TEST_F(SurplusTest, ACopyLeavesTheMapThenTheMemory) {
  RepairActions actions = Next(repair_);
  ASSERT_THAT(actions.hide, SizeIs(1));
  EXPECT_EQ(actions.hide[0].first, ShardId{0});
  EXPECT_THAT(actions.hide[0].second, ElementsAre(U(2), U(3)));
  EXPECT_THAT(actions.orders, IsEmpty());
  Obey(repair_, actions);
  now_ += absl::Milliseconds(999);
  EXPECT_THAT(Next(repair_).orders, IsEmpty());
  now_ += absl::Milliseconds(1);
  EXPECT_THAT(Next(repair_, /*views_quiet=*/false).orders, IsEmpty());
  actions = Next(repair_);
  ASSERT_THAT(actions.orders, SizeIs(1));
  EXPECT_THAT(actions.orders[0].order.drop, SizeIs(2));
  Obey(repair_, actions);
  EXPECT_EQ(HeldBy(0), 2u);
  Next(repair_);
  EXPECT_TRUE(repair_.idle());
}

TEST_F(SurplusTest, ADropThatFailsIsRepeatedWithGrowingPauses) {
  Obey(repair_, Next(repair_));
  now_ += absl::Seconds(1);
  std::vector<absl::Duration> at;
  for (const absl::Duration end = now_ + absl::Seconds(30); now_ < end;
       now_ += absl::Milliseconds(50)) {
    for (const ShardOrder& order : Next(repair_).orders) {
      at.push_back(now_);
      repair_.Finished(order.shard, absl::UnavailableError("fails at once"), now_);
    }
    EXPECT_FALSE(repair_.idle());
  }
  ASSERT_THAT(at, SizeIs(8));  // after 0.25, 0.5, 1, 2, 4, 8, 10 s
  EXPECT_EQ(at[1] - at[0], absl::Milliseconds(250));
  EXPECT_EQ(at[7] - at[6], absl::Seconds(10));
  now_ += absl::Seconds(10);
  Obey(repair_, Next(repair_));
  EXPECT_EQ(HeldBy(0), 2u);
}

TEST_F(SurplusTest, AHiddenCopyComesBackIfTheOtherIsLostAgain) {
  Obey(repair_, Next(repair_));
  down_.insert(ShardId{1});
  const RepairActions actions = Next(repair_);
  ASSERT_THAT(actions.unhide, SizeIs(1));
  EXPECT_THAT(actions.unhide[0].second, ElementsAre(U(2), U(3)));
  EXPECT_THAT(actions.orders, IsEmpty());
  Obey(repair_, actions);
  Next(repair_);
  EXPECT_EQ(repair_.without_copy(), 0u);
  EXPECT_EQ(HeldBy(0), 4u);
}

TEST_F(SurplusTest, AnotherLifeOfTheShardIsNotOurs) {
  Add(0, {0, 1, 2, 3});
  shards_[ShardId{0}].incarnation = 2;
  EXPECT_THAT(Next(repair_).hide, IsEmpty());
  EXPECT_TRUE(repair_.idle());
}

}  // namespace
}  // namespace tessera::router
