// What a follower loaded itself holds until its leader knows better, however long that takes.

#include "services/router/cluster/placement_overlay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tessera::router {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using wire::HeldUnit;
using wire::PublishedPlacement;
using wire::ShardState;

constexpr LayerIndex kLayer{1};
constexpr uint64_t kLife = 100;

HeldUnit Held(uint32_t expert, uint32_t slot) { return {kLayer, ExpertId{expert}, slot, 7}; }

struct Told {
  uint32_t shard = 0;
  uint64_t held_version = 0;
  std::vector<HeldUnit> units;
  uint64_t incarnation = kLife;
  ShardState state = ShardState::kReady;
};

std::shared_ptr<const PublishedPlacement> Leader(const std::vector<Told>& shards) {
  PublishedPlacement published;
  std::vector<PlacedUnit> units;
  for (const Told& told : shards) {
    wire::ShardDescriptor& shard = published.shards.emplace_back();
    shard.shard = ShardId{told.shard};
    shard.incarnation = told.incarnation;
    shard.state = told.state;
    shard.slot_count = 8;
    shard.held_version = told.held_version;
    for (const HeldUnit& unit : told.units) {
      units.push_back({unit.layer, unit.expert, {shard.shard, unit.slot, unit.weights_version}});
    }
  }
  published.placement = *Placement::Build(Epoch{5}, {2, 8}, std::move(units));
  return std::make_shared<const PublishedPlacement>(std::move(published));
}

// "expert@shard/slot" of each copy.
std::vector<std::string> Copies(const PublishedPlacement& published) {
  std::vector<std::string> copies;
  for (const PlacedUnit& unit : published.placement.Units()) {
    copies.push_back(absl::StrCat(ToIndex(unit.expert), "@", ToIndex(unit.replica.shard), "/",
                                  unit.replica.slot));
  }
  return copies;
}

TEST(PlacementOverlayTest, WithoutLoadsTheLeadersPlacementStands) {
  PlacementOverlay overlay;
  const auto told = Leader({{0, 3, {Held(0, 0)}}, {1, 3, {Held(1, 0)}}});
  EXPECT_EQ(overlay.Over(told), told);
}

TEST(PlacementOverlayTest, ALoadHoldsUntilTheLeaderTellsIt) {
  PlacementOverlay overlay;
  const std::vector<Told> before = {{0, 3, {Held(0, 0)}}, {1, 3, {Held(1, 0)}}};
  overlay.Learn(ShardId{1}, {kLife, 4, {Held(1, 0), Held(0, 1)}});
  for (int times = 0; times < 3; ++times) {  // of other shards it tells news meanwhile
    EXPECT_THAT(Copies(*overlay.Over(Leader(before))), ElementsAre("0@0/0", "0@1/1", "1@1/0"));
  }
  const auto after = Leader({{0, 3, {Held(0, 0)}}, {1, 4, {Held(1, 0), Held(0, 1)}}});
  EXPECT_EQ(overlay.Over(after), after);
  EXPECT_THAT(Copies(*overlay.Over(Leader(before))), ElementsAre("0@0/0", "1@1/0")) << "forgotten";
}

TEST(PlacementOverlayTest, WhatTheShardLetGoSinceGoesWithTheLeadersNewerWord) {
  PlacementOverlay overlay;
  overlay.Learn(ShardId{0}, {kLife, 4, {Held(0, 0), Held(1, 1)}});
  EXPECT_THAT(Copies(*overlay.Over(Leader({{0, 5, {Held(0, 0)}}}))), ElementsAre("0@0/0"));
}

TEST(PlacementOverlayTest, ASlotIsBelievedToHoldWhatTheShardToldLast) {
  PlacementOverlay overlay;
  overlay.Learn(ShardId{0}, {kLife, 4, {Held(1, 0)}});
  EXPECT_THAT(Copies(*overlay.Over(Leader({{0, 3, {Held(0, 0)}}}))), ElementsAre("1@0/0"));
}

TEST(PlacementOverlayTest, AnswersThatOvertakeEachOtherLeaveTheNewest) {
  PlacementOverlay overlay;
  overlay.Learn(ShardId{0}, {kLife, 6, {Held(0, 0), Held(1, 1), Held(2, 2)}});
  overlay.Learn(ShardId{0}, {kLife, 5, {Held(0, 0), Held(1, 1)}});
  EXPECT_THAT(Copies(*overlay.Over(Leader({{0, 4, {Held(0, 0)}}}))),
              ElementsAre("0@0/0", "1@0/1", "2@0/2"));
}

TEST(PlacementOverlayTest, AnotherLifeOfTheShardHoldsNothingOfIt) {
  PlacementOverlay overlay;
  overlay.Learn(ShardId{0}, {kLife, 9, {Held(0, 0), Held(1, 1)}});
  const auto told = Leader({{0, 1, {Held(0, 0)}, kLife + 1}});
  EXPECT_EQ(overlay.Over(told), told);
  overlay.Learn(ShardId{0}, {kLife + 1, 2, {Held(2, 0)}});
  EXPECT_THAT(Copies(*overlay.Over(told)), ElementsAre("2@0/0")) << "versions begin anew with it";
}

TEST(PlacementOverlayTest, AShardThatIsNotReadyHoldsNothingButIsRemembered) {
  PlacementOverlay overlay;
  overlay.Learn(ShardId{0}, {kLife, 4, {Held(0, 0)}});
  EXPECT_THAT(Copies(*overlay.Over(Leader({{0, 0, {}, kLife, ShardState::kLoading}}))), IsEmpty());
  EXPECT_THAT(Copies(*overlay.Over(Leader({{0, 3, {}}}))), ElementsAre("0@0/0"));
}

TEST(PlacementOverlayTest, AShardThatTheLeaderDoesNotNameIsForgotten) {
  PlacementOverlay overlay;
  overlay.Learn(ShardId{0}, {kLife, 4, {Held(0, 0)}});
  EXPECT_THAT(Copies(*overlay.Over(Leader({}))), IsEmpty());
  EXPECT_THAT(Copies(*overlay.Over(Leader({{0, 3, {}}}))), IsEmpty())
      << "it registered anew, and told the leader everything";
}

TEST(PlacementOverlayTest, ImpossibleUnitsLeaveTheLeadersPlacement) {
  PlacementOverlay overlay;
  overlay.Learn(ShardId{0}, {kLife, 4, {Held(0, 0), Held(99, 1)}});  // there are 8 experts
  const auto told = Leader({{0, 3, {Held(0, 0)}}});
  EXPECT_EQ(overlay.Over(told), told);
}

}  // namespace
}  // namespace tessera::router
