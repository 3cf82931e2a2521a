#include "common/moe/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

PlacedUnit Unit(uint32_t layer, uint32_t expert, uint32_t shard, uint32_t slot) {
  return {LayerIndex{layer}, ExpertId{expert}, {ShardId{shard}, slot, 7}};
}

TEST(PlacementTest, FindsCopiesInShardOrder) {
  const auto placement = Placement::Build(
      Epoch{3}, {2, 3},
      {Unit(1, 0, 5, 0), Unit(1, 2, 5, 1), Unit(1, 2, 0, 0), Unit(1, 2, 2, 9), Unit(1, 1, 0, 1)});
  ASSERT_TRUE(placement.ok()) << placement.status();
  EXPECT_EQ(placement->epoch(), Epoch{3});
  EXPECT_THAT(
      placement->replicas(LayerIndex{1}, ExpertId{2}),
      ElementsAre(Replica{ShardId{0}, 0, 7}, Replica{ShardId{2}, 9, 7}, Replica{ShardId{5}, 1, 7}));
  EXPECT_TRUE(placement->replicas(LayerIndex{0}, ExpertId{2}).empty());
  EXPECT_TRUE(placement->replicas(LayerIndex{1}, ExpertId{3}).empty());
  EXPECT_TRUE(placement->replicas(LayerIndex{2}, ExpertId{0}).empty());
  EXPECT_THAT(placement->shards(), ElementsAre(ShardId{0}, ShardId{2}, ShardId{5}));
  EXPECT_EQ(placement->shard_bound(), 6u);
  EXPECT_EQ(placement->CopiesMin(LayerIndex{1}), 1u);
  EXPECT_EQ(placement->CopiesMin(LayerIndex{0}), 0u);
  EXPECT_EQ(placement->Units().size(), 5u);
}

TEST(PlacementTest, RefusesWhatContradictsItself) {
  const auto error = [](std::vector<PlacedUnit> units) {
    return std::string(Placement::Build(Epoch{1}, {2, 3}, std::move(units)).status().message());
  };
  EXPECT_THAT(error({Unit(2, 0, 0, 0)}), HasSubstr("out of range"));
  EXPECT_THAT(error({Unit(0, 3, 0, 0)}), HasSubstr("out of range"));
  EXPECT_THAT(error({Unit(0, 0, 65536, 0)}), HasSubstr("out of range"));
  EXPECT_THAT(error({Unit(0, 0, 1, 0), Unit(0, 0, 1, 1)}), HasSubstr("named twice"));
  EXPECT_THAT(error({Unit(0, 0, 1, 4), Unit(0, 1, 1, 4)}), HasSubstr("share slot 4"));
}

TEST(PlacementTest, TheEmptyPlacementAnswersToo) {
  const Placement placement;
  EXPECT_TRUE(placement.replicas(LayerIndex{0}, ExpertId{0}).empty());
  EXPECT_EQ(placement.shard_bound(), 0u);
  EXPECT_EQ(placement.CopiesMin(LayerIndex{0}), 0u);
}

}  // namespace
}  // namespace tessera
