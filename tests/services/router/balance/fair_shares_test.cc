#include "services/router/balance/fair_shares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "services/router/balance/routing_source.h"

namespace tessera::router {
namespace {

constexpr PlacementShape kShape{.layer_count = 1, .expert_count = 32};
constexpr LayerIndex kLayer{0};
constexpr size_t kShards = 4;

// Expert e on shard e / 8, and every fourth on the next shard as well.
Placement SomeCopies() {
  std::vector<PlacedUnit> units;
  for (uint32_t e = 0; e < kShape.expert_count; ++e) {
    units.push_back({kLayer, ExpertId{e}, {ShardId{e / 8}, e % 8, 1}});
    if (e % 4 == 0) units.push_back({kLayer, ExpertId{e}, {ShardId{(e / 8 + 1) % 4}, 8 + e, 1}});
  }
  return *Placement::Build(Epoch{1}, kShape, std::move(units));
}

struct Outcome {
  double window = 0;  // mean over largest of what shards were given in all steps
  double step = 0;    // of each step, averaged
};

Outcome Dispatched(bool fair, size_t rows) {
  const Placement placement = SomeCopies();
  ZipfRouting routing(kShape, 4, 0.7, 5);
  FairShares shares;
  DispatchPlanner planner;
  DispatchPlan plan;
  const std::vector<uint32_t> idle(kShards, 0);
  std::vector<double> sums(kShards);
  Outcome outcome;
  constexpr int kSteps = 2000;
  for (int step = 0; step < kSteps; ++step) {
    ReplicaChoice choice = shares.Choice(kLayer, idle, static_cast<uint64_t>(step));
    if (!fair) choice.ahead_rows = {};
    planner.Plan(kLayer, routing.Next(kLayer, rows), placement, choice, plan);
    double sum = 0, most = 0;
    for (const ShardPlan& part : plan.shards) {
      shares.Note({.layer = kLayer,
                   .shard = part.shard,
                   .pairs = static_cast<uint32_t>(part.pair_rows.size()),
                   .experts = static_cast<uint32_t>(part.segments.size())});
      const auto work =
          static_cast<double>(part.segments.size() * choice.expert_rows + part.pair_rows.size());
      sums[ToIndex(part.shard)] += work;
      sum += work;
      most = std::max(most, work);
    }
    outcome.step += sum / kShards / most / kSteps;
  }
  double sum = 0;
  for (const double work : sums) sum += work;
  outcome.window = sum / kShards / *std::ranges::max_element(sums);
  return outcome;
}

TEST(FairSharesTest, CopiesEvenOutTheLongRunAndAStepWaitsNoLonger) {
  for (const size_t rows : {8u, 64u}) {
    const Outcome fair = Dispatched(true, rows);
    const Outcome blind = Dispatched(false, rows);
    std::printf("%zu rows: all steps %.3f instead of %.3f, each step %.3f instead of %.3f\n", rows,
                fair.window, blind.window, fair.step, blind.step);
    EXPECT_LT(1 - fair.window, 0.7 * (1 - blind.window));
    EXPECT_GT(fair.step, blind.step - 0.01);
  }
}

TEST(FairSharesTest, AheadCountsLittleAndFadesAndAShardThatTakesNothingIsLeftOut) {
  FairShares shares;
  std::vector<uint32_t> outstanding = {0, 0, kShardUnusable};
  EXPECT_EQ(shares.Choice(kLayer, outstanding, 1).ahead_rows[1], 0u);
  shares.Note({.layer = kLayer, .shard = ShardId{1}, .pairs = 4096});
  const ReplicaChoice choice = shares.Choice(kLayer, outstanding, 1);
  EXPECT_EQ(choice.ahead_rows[0], 0u);
  EXPECT_EQ(choice.ahead_rows[1], 4u) << "whatever it is ahead";
  EXPECT_EQ(shares.Choice(LayerIndex{3}, outstanding, 1).ahead_rows[1], 0u) << "another layer";
  outstanding[0] = kShardUnusable;
  EXPECT_EQ(shares.Choice(kLayer, outstanding, 1).ahead_rows[1], 0u)
      << "of those that can be asked";
  outstanding[0] = 0;
  for (int step = 0; step < 5000; ++step) shares.Choice(kLayer, outstanding, 1);
  EXPECT_EQ(shares.Choice(kLayer, outstanding, 1).ahead_rows[1], 0u);
}

// Experts that nobody held when a step chose, and a shard that came meanwhile.
TEST(FairSharesTest, AnswersNobodyCountedOnAreNotedToo) {
  FairShares shares;
  const std::vector<uint32_t> idle(4, 0);
  shares.Note({.layer = LayerIndex{2}, .shard = ShardId{3}, .pairs = 4096});
  EXPECT_EQ(shares.Choice(LayerIndex{2}, idle, 1).ahead_rows[3], 4u);
  const std::vector<uint32_t> fewer(1, 0);
  EXPECT_EQ(shares.Choice(LayerIndex{2}, fewer, 1).ahead_rows.size(), 1u);
  shares.Note({.layer = LayerIndex{2}, .shard = ShardId{3}, .pairs = 4096});
  EXPECT_EQ(shares.Choice(LayerIndex{2}, idle, 1).ahead_rows[3], 4u);
}

TEST(FairSharesTest, WhatAnExpertCostsIsLearntFromAnswers) {
  FairShares shares;
  const std::vector<uint32_t> idle(1, 0);
  EXPECT_EQ(shares.Choice(kLayer, idle, 0).expert_rows, 4u);
  shares.SetCosts({.call_us = 5, .touch_us = 30, .row_us = 3, .fitted = true});
  EXPECT_EQ(shares.Choice(kLayer, idle, 0).expert_rows, 10u);
  shares.SetCosts({.touch_us = 1, .row_us = 0, .fitted = true});
  EXPECT_EQ(shares.Choice(kLayer, idle, 0).expert_rows, 64u);
  CostFit fit;
  for (int i = 0; i < 1000; ++i) {
    const double experts = 1 + i % 7;
    const double pairs = experts + i % 11;
    fit.Observe(experts, pairs, 2 + 6 * experts + 3 * pairs);
  }
  fit.Fold();
  for (int step = 0; step < 256; ++step) shares.Learn(fit);
  EXPECT_EQ(shares.Choice(kLayer, idle, 0).expert_rows, 2u);
}

}  // namespace
}  // namespace tessera::router
