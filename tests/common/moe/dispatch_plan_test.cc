#include "common/moe/dispatch_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "common/base/random.h"
#include "common/moe/reference.h"
#include "common/tensor/matrix.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr LayerIndex kLayer{1};

struct RoutingData {
  size_t top_k;
  std::vector<uint32_t> experts;
  std::vector<float> weights;
  RoutingView view() const { return {experts.size() / top_k, top_k, experts, weights}; }
};

RoutingData RandomRouting(Random& random, size_t rows, size_t top_k, size_t expert_count) {
  RoutingData routing{top_k, {}, {}};
  for (size_t row = 0; row < rows; ++row) {
    std::set<uint32_t> chosen;
    while (chosen.size() < top_k) chosen.insert(static_cast<uint32_t>(random.Below(expert_count)));
    for (const uint32_t e : chosen) {
      routing.experts.push_back(e);
      routing.weights.push_back(static_cast<float>(random.Uniform()));
    }
  }
  return routing;
}

// Every expert on `copies` different shards, at random.
Placement RandomPlacement(Random& random, size_t expert_count, uint32_t shard_count,
                          size_t copies) {
  std::vector<PlacedUnit> units;
  std::vector<uint32_t> next_slot(shard_count);
  for (uint32_t e = 0; e < expert_count; ++e) {
    std::set<uint32_t> shards;
    while (shards.size() < copies) shards.insert(static_cast<uint32_t>(random.Below(shard_count)));
    for (const uint32_t s : shards) {
      units.push_back({kLayer, ExpertId{e}, {ShardId{s}, next_slot[s]++, 0}});
    }
  }
  return *Placement::Build(Epoch{1}, {2, expert_count}, std::move(units));
}

TEST(DispatchPlanTest, WorkedExampleOfTheHeader) {
  std::vector<PlacedUnit> units;
  for (uint32_t e = 0; e < 4; ++e) {
    units.push_back({kLayer, ExpertId{e}, {ShardId{e / 2}, 10 + e, 0}});
  }
  const Placement placement = *Placement::Build(Epoch{1}, {2, 4}, units);
  const RoutingData routing{2, {0, 1, 1, 2, 2, 3}, {.1f, .2f, .3f, .4f, .5f, .6f}};
  DispatchPlan plan;
  PlanDispatch(kLayer, routing.view(), placement, {}, plan);
  ASSERT_EQ(plan.shards.size(), 2u);
  EXPECT_THAT(plan.homeless, IsEmpty());
  EXPECT_THAT(plan.shards[0].rows, ElementsAre(0, 1));
  EXPECT_THAT(plan.shards[0].pair_rows, ElementsAre(0, 0, 1));
  EXPECT_THAT(plan.shards[0].pair_weights, ElementsAre(.1f, .2f, .3f));
  EXPECT_THAT(plan.shards[1].rows, ElementsAre(1, 2));
  EXPECT_THAT(plan.shards[1].pair_rows, ElementsAre(0, 1, 1));
  EXPECT_THAT(plan.shards[1].pair_weights, ElementsAre(.4f, .5f, .6f));
  ASSERT_EQ(plan.shards[1].segments.size(), 2u);
  EXPECT_EQ(plan.shards[1].segments[0].slot, 12u);
  EXPECT_EQ(plan.shards[1].segments[0].pair_count, 2u);
}

// Whatever the placement and the load, every pair is computed exactly once, where its expert lives.
TEST(DispatchPlanTest, EveryPairGoesSomewhereOnce) {
  Random random(11);
  DispatchPlan plan;  // reused: nothing of the last plan may shine through
  for (int round = 0; round < 300; ++round) {
    const uint32_t shards = 1 + static_cast<uint32_t>(random.Below(7));
    const Placement placement =
        RandomPlacement(random, 16, shards, 1 + random.Below(std::min(shards, 3u)));
    const RoutingData routing = RandomRouting(random, random.Below(40), 1 + random.Below(6),
                                              placement.shape().expert_count);
    std::vector<uint32_t> outstanding(random.Below(shards + 1));
    for (uint32_t& rows : outstanding) rows = static_cast<uint32_t>(random.Below(9));
    PlanDispatch(kLayer, routing.view(), placement, {outstanding, random.Bits()}, plan);
    std::multiset<std::tuple<uint32_t, uint32_t, float>> got, want;
    uint32_t last_shard = 0;
    std::set<ExpertId> seen;
    for (const ShardPlan& shard : plan.shards) {
      ASSERT_GE(ToIndex(shard.shard), last_shard);
      last_shard = static_cast<uint32_t>(ToIndex(shard.shard)) + 1;
      ASSERT_FALSE(shard.rows.empty());
      ASSERT_TRUE(std::is_sorted(shard.rows.begin(), shard.rows.end()));
      ASSERT_EQ(std::set(shard.rows.begin(), shard.rows.end()).size(), shard.rows.size());
      size_t pair = 0;
      for (const PlanSegment& segment : shard.segments) {
        ASSERT_TRUE(seen.insert(segment.expert).second) << "an expert on two shards of one call";
        const auto replicas = placement.replicas(kLayer, segment.expert);
        ASSERT_TRUE(std::any_of(replicas.begin(), replicas.end(), [&](const Replica& r) {
          return r.shard == shard.shard && r.slot == segment.slot;
        }));
        for (uint32_t i = 0; i < segment.pair_count; ++i, ++pair) {
          got.emplace(shard.rows[shard.pair_rows[pair]],
                      static_cast<uint32_t>(ToIndex(segment.expert)), shard.pair_weights[pair]);
        }
      }
      ASSERT_EQ(pair, shard.pair_rows.size());
    }
    for (size_t i = 0; i < routing.experts.size(); ++i) {
      want.emplace(i / routing.top_k, routing.experts[i], routing.weights[i]);
    }
    ASSERT_EQ(got, want) << "round " << round;
  }
}

TEST(DispatchPlanTest, AnExpertWithoutAUsableShardIsNamed) {
  const Placement placement = *Placement::Build(
      Epoch{1}, {2, 3},
      {{kLayer, ExpertId{0}, {ShardId{0}, 0, 0}}, {kLayer, ExpertId{1}, {ShardId{1}, 0, 0}}});
  const RoutingData routing{3, {0, 1, 2}, {1, 1, 1}};
  const std::vector<uint32_t> outstanding = {0, kShardUnusable};
  DispatchPlan plan;
  PlanDispatch(kLayer, routing.view(), placement, {outstanding, 0}, plan);
  EXPECT_THAT(plan.homeless, ElementsAre(ExpertId{1}, ExpertId{2}));
  ASSERT_EQ(plan.shards.size(), 1u);
  EXPECT_EQ(plan.shards[0].shard, ShardId{0});
  PlanDispatch(LayerIndex{0}, routing.view(), placement, {}, plan);
  EXPECT_EQ(plan.homeless.size(), 3u);
  EXPECT_THAT(plan.shards, IsEmpty());
}

TEST(DispatchPlanTest, CopiesShareTheWorkAndAvoidTheBusyShard) {
  Random random(5);
  const Placement placement = RandomPlacement(random, 16, 2, 2);
  const RoutingData routing = RandomRouting(random, 1, 8, 16);
  DispatchPlan plan;
  PlanDispatch(kLayer, routing.view(), placement, {}, plan);
  ASSERT_EQ(plan.shards.size(), 2u);
  EXPECT_EQ(plan.shards[0].segments.size(), 4u);
  const std::vector<uint32_t> outstanding = {0, 1000};
  PlanDispatch(kLayer, routing.view(), placement, {outstanding, 1}, plan);
  ASSERT_EQ(plan.shards.size(), 1u);
  EXPECT_EQ(plan.shards[0].shard, ShardId{0});
}

// Plan, compute each shard's weighted sums by the plan alone, add them up: the reference's rows.
TEST(DispatchPlanTest, SumsOverShardsEqualTheReference) {
  constexpr size_t kRows = 9, kModel = 12, kWidth = 5, kExperts = 8;
  Random random(2);
  std::vector<Matrix> gate, up, down;
  const auto fill = [&](size_t rows, size_t cols) {
    Matrix m(rows, cols);
    for (float& v : m.values()) v = static_cast<float>(random.Uniform() - 0.5);
    return m;
  };
  for (size_t e = 0; e < kExperts; ++e) {
    gate.push_back(fill(kWidth, kModel));
    up.push_back(fill(kWidth, kModel));
    down.push_back(fill(kModel, kWidth));
  }
  const auto expert_of = [&](ExpertId e) {
    const size_t i = ToIndex(e);
    return ExpertMatrices{std::as_const(gate[i]).view(), std::as_const(up[i]).view(),
                          std::as_const(down[i]).view()};
  };
  const Matrix rows = fill(kRows, kModel);
  const RoutingData routing = RandomRouting(random, kRows, 3, kExperts);
  Matrix want(kRows, kModel);
  MoeReference({rows.view(), routing.view()}, expert_of, want.view());
  const Placement placement = RandomPlacement(random, kExperts, 3, 2);
  DispatchPlan plan;
  PlanDispatch(kLayer, routing.view(), placement, {}, plan);
  std::vector<double> got(kRows * kModel), y(kModel);
  for (const ShardPlan& shard : plan.shards) {
    size_t pair = 0;
    for (const PlanSegment& segment : shard.segments) {
      for (uint32_t i = 0; i < segment.pair_count; ++i, ++pair) {
        const uint32_t row = shard.rows[shard.pair_rows[pair]];
        ExpertReference(expert_of(segment.expert), rows.row(row), y);
        for (size_t c = 0; c < kModel; ++c) {
          got[row * kModel + c] += shard.pair_weights[pair] * y[c];
        }
      }
    }
  }
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want.values()[i], 1e-6);
}

}  // namespace
}  // namespace tessera
