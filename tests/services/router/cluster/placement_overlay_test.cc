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
using ::testing::HasSubstr;
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

class PlacementOverlayTest : public ::testing::Test {
 protected:
  absl::Status Learn(const std::shared_ptr<const PublishedPlacement>& told, uint32_t shard,
                     uint64_t held_version, std::vector<HeldUnit> held,
                     uint64_t incarnation = kLife) {
    return overlay_.Learn(*told, ShardId{shard}, incarnation, held_version, std::move(held));
  }
  std::vector<std::string> Applied(const std::vector<Told>& told) {
    return Copies(*overlay_.Apply(Leader(told)));
  }

  PlacementOverlay overlay_;
  // Shard 0 holds expert 0 and shard 1 expert 1, both of version 3.
  const std::vector<Told> before_ = {{0, 3, {Held(0, 0)}}, {1, 3, {Held(1, 0)}}};
};

TEST_F(PlacementOverlayTest, WithoutLoadsTheLeadersPlacementStands) {
  const auto told = Leader(before_);
  EXPECT_EQ(overlay_.Apply(told), told);
}

TEST_F(PlacementOverlayTest, ALoadHoldsUntilTheLeaderTellsItsVersion) {
  ASSERT_TRUE(Learn(Leader(before_), 1, 4, {Held(1, 0), Held(0, 1)}).ok());
  const auto seen = overlay_.Apply(Leader(before_));
  EXPECT_THAT(Copies(*seen), ElementsAre("0@0/0", "0@1/1", "1@1/0"));
  EXPECT_EQ(seen->shards[0].held_version, 3u);
  EXPECT_EQ(seen->shards[1].held_version, 4u);
  std::vector<Told> later = before_;  // news of shard 0 only
  later[0] = {0, 5, {Held(0, 0), Held(3, 4)}};
  EXPECT_THAT(Applied(later), ElementsAre("0@0/0", "0@1/1", "1@1/0", "3@0/4"));
  later[1] = {1, 4, {Held(1, 0), Held(0, 1)}};
  const auto told = Leader(later);
  EXPECT_EQ(overlay_.Apply(told), told);
  EXPECT_THAT(Applied(before_), ElementsAre("0@0/0", "1@1/0")) << "forgotten";
}

TEST_F(PlacementOverlayTest, WhatTheShardLetGoSinceGoesWithTheLeadersNewerWord) {
  ASSERT_TRUE(Learn(Leader(before_), 0, 4, {Held(0, 0), Held(1, 1)}).ok());
  EXPECT_THAT(Applied({{0, 5, {Held(0, 0)}}}), ElementsAre("0@0/0"));
}

TEST_F(PlacementOverlayTest, AShardHoldsWhatItToldLastAndNothingElse) {
  ASSERT_TRUE(Learn(Leader(before_), 0, 4, {Held(1, 0)}).ok());
  EXPECT_THAT(Applied(before_), ElementsAre("1@0/0", "1@1/0"));
  ASSERT_TRUE(Learn(Leader(before_), 0, 5, {Held(1, 0), Held(2, 1)}).ok());
  EXPECT_THAT(Applied(before_), ElementsAre("1@0/0", "1@1/0", "2@0/1"));
}

TEST_F(PlacementOverlayTest, AHiddenCopyIsSeenUntilItsDropMakesANewerVersion) {
  const std::vector<Told> hides = {{0, 3, {Held(0, 0)}}};  // of expert 2, which version 3 has
  ASSERT_TRUE(Learn(Leader(hides), 0, 4, {Held(0, 0), Held(1, 1), Held(2, 2)}).ok());
  EXPECT_THAT(Applied(hides), ElementsAre("0@0/0", "1@0/1", "2@0/2"));
  EXPECT_THAT(Applied({{0, 5, {Held(0, 0), Held(1, 1)}}}), ElementsAre("0@0/0", "1@0/1"));
}

TEST_F(PlacementOverlayTest, OneOfTwoShardsIsForgottenTheOtherNot) {
  ASSERT_TRUE(Learn(Leader(before_), 0, 4, {Held(0, 0), Held(2, 1)}).ok());
  ASSERT_TRUE(Learn(Leader(before_), 1, 4, {Held(1, 0), Held(3, 1)}).ok());
  EXPECT_THAT(Applied({before_[0], {1, 9, {Held(1, 0)}}}), ElementsAre("0@0/0", "1@1/0", "2@0/1"));
}

TEST_F(PlacementOverlayTest, AnotherLifeOfTheShardHoldsNothingOfIt) {
  ASSERT_TRUE(Learn(Leader(before_), 0, 9, {Held(0, 0), Held(1, 1)}).ok());
  const std::vector<Told> anew = {{0, 1, {Held(0, 0)}, kLife + 1}};
  ASSERT_TRUE(Learn(Leader(anew), 0, 2, {Held(2, 0)}, kLife + 1).ok()) << "its versions begin anew";
  EXPECT_THAT(Applied(anew), ElementsAre("2@0/0"));
  ASSERT_TRUE(Learn(Leader(anew), 0, 9, {Held(3, 0)}, kLife + 1).ok());
  const auto third = Leader({{0, 1, {Held(0, 0)}, kLife + 2}});
  EXPECT_EQ(overlay_.Apply(third), third);
}

TEST_F(PlacementOverlayTest, ALeaderThatTellsNoVersionIsBelieved) {
  ASSERT_TRUE(Learn(Leader(before_), 0, 4, {Held(0, 0), Held(1, 1)}).ok());
  EXPECT_THAT(Applied({{0, 0, {Held(0, 0)}}}), ElementsAre("0@0/0"));
}

TEST_F(PlacementOverlayTest, AShardThatIsNotReadyOrNotNamedIsForgotten) {
  ASSERT_TRUE(Learn(Leader(before_), 0, 4, {Held(2, 0)}).ok());
  ASSERT_TRUE(Learn(Leader(before_), 1, 4, {Held(3, 0)}).ok());
  EXPECT_THAT(Applied({{0, 0, {}, kLife, ShardState::kDraining}}), IsEmpty());
  EXPECT_THAT(Applied(before_), ElementsAre("0@0/0", "1@1/0"));
}

TEST_F(PlacementOverlayTest, WhatNoPlacementCanHaveIsRefused) {
  ASSERT_TRUE(Learn(Leader(before_), 1, 4, {Held(1, 0), Held(0, 1)}).ok());
  const absl::Status range = Learn(Leader(before_), 0, 4, {Held(0, 0), Held(99, 1)});
  EXPECT_EQ(range.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(range.message()), HasSubstr("expert 99 of layer 1 in slot 1"));
  EXPECT_FALSE(Learn(Leader(before_), 0, 4, {Held(0, 0), Held(0, 1)}).ok()) << "twice";
  EXPECT_FALSE(Learn(Leader(before_), 0, 4, {Held(0, 8)}).ok()) << "there are 8 slots";
  EXPECT_EQ(Learn(Leader(before_), 2, 4, {}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Learn(Leader(before_), 0, 4, {}, kLife + 1).code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Applied(before_), ElementsAre("0@0/0", "0@1/1", "1@1/0")) << "all else as it was";
}

}  // namespace
}  // namespace tessera::router
