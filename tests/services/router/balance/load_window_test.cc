#include "services/router/balance/load_window.h"

#include <gtest/gtest.h>

#include <cmath>

#include "services/router/balance/measured_balance.h"

namespace tessera::router {
namespace {

constexpr PlacementShape kShape{.layer_count = 2, .expert_count = 3};

void CountStep(ExpertTally& tally, uint32_t layer, const std::vector<uint32_t>& experts) {
  tally.CountRouting(LayerIndex{layer}, experts);
  tally.Commit(absl::Seconds(1));
}

TEST(ExpertTotalsTest, WhatATallyCountedSinceThen) {
  ExpertTally tally({LayerIndex{1}}, kShape.expert_count);
  EXPECT_TRUE(TotalsOf(tally, kShape.layer_count).empty());
  CountStep(tally, 1, {0, 2, 0, 1, 0, 2});  // three rows, two experts each
  const ExpertTotals before = TotalsOf(tally, kShape.layer_count);
  EXPECT_EQ(before.shape.layer_count, 2u);
  EXPECT_EQ(before.rows, (std::vector<uint64_t>{0, 0, 0, 3, 1, 2}));
  EXPECT_EQ(before.touches, (std::vector<uint64_t>{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(before.steps, (std::vector<uint64_t>{0, 1}));
  EXPECT_EQ(before.Since({}).rows, before.rows);
  CountStep(tally, 1, {0, 1});
  const ExpertTotals delta = TotalsOf(tally, kShape.layer_count).Since(before);
  EXPECT_EQ(delta.rows, (std::vector<uint64_t>{0, 0, 0, 1, 1, 0}));
  EXPECT_EQ(delta.steps, (std::vector<uint64_t>{0, 1}));
  EXPECT_FALSE(delta.empty());
  EXPECT_TRUE(delta.Since(delta).empty());
}

TEST(BalanceGaugeTest, MeasuresEveryThousandStepsAnew) {
  ExpertTally tally({LayerIndex{0}, LayerIndex{1}}, kShape.expert_count);
  tally.SetShardCount(2);
  BalanceGauge gauge(10);
  const auto step = [&](uint32_t first, uint32_t second) {
    tally.CountRouting(LayerIndex{0}, std::vector<uint32_t>(first + second));
    tally.CountAnswer({LayerIndex{0}, ShardId{0}, first, 1});
    tally.CountAnswer({LayerIndex{0}, ShardId{3}, second, 1});
    tally.Commit(absl::Seconds(1));
  };
  for (int i = 0; i < 9; ++i) step(3, 1);
  gauge.Look(tally, 2);
  EXPECT_EQ(gauge.last().steps, 0u) << "too early";
  EXPECT_EQ(gauge.last().window, 1);
  step(1, 3);
  gauge.Look(tally, 2);
  EXPECT_EQ(gauge.last().steps, 10u);
  EXPECT_DOUBLE_EQ(gauge.last().step, 4.0 / 2 / 3);
  EXPECT_DOUBLE_EQ(gauge.last().window, 40.0 / 2 / 28);
  for (int i = 0; i < 10; ++i) i % 2 == 0 ? step(3, 1) : step(1, 3);
  gauge.Look(tally, 2);
  EXPECT_DOUBLE_EQ(gauge.last().window, 1) << "of these ten alone";
  EXPECT_DOUBLE_EQ(gauge.last().step, 4.0 / 2 / 3);
}

ExpertTotals Totals(std::vector<uint64_t> rows, uint64_t steps) {
  return {kShape, rows, rows, {steps, steps}};
}

TEST(LoadWindowTest, OldLoadFadesWithSteps) {
  LoadWindow window(kShape, /*window_steps=*/100);
  window.Add(Totals({100, 0, 0, 100, 0, 0}, 100));
  EXPECT_DOUBLE_EQ(window.rows()[0], 100);
  window.Add(Totals({0, 100, 0, 0, 100, 0}, 100));
  EXPECT_NEAR(window.rows()[0], 100 * std::exp(-1), 1e-9);
  EXPECT_NEAR(window.steps(), 100 + 100 * std::exp(-1), 1e-9);
}

TEST(LoadWindowTest, CostIsTouchesAndRowsPerStepWithAFloor) {
  LoadWindow window(kShape, 1000);
  ExpertTotals delta = Totals({80, 20, 0, 50, 50, 0}, 10);
  delta.touches = {10, 5, 0, 10, 10, 0};
  window.Add(delta);
  const std::vector<double> costs =
      window.UnitCosts({.touch_us = 30, .row_us = 2}, {LayerIndex{0}, LayerIndex{1}});
  EXPECT_DOUBLE_EQ(costs[0], 30 * 1.0 + 2 * 8.0);
  EXPECT_DOUBLE_EQ(costs[1], 30 * 0.5 + 2 * 2.0);
  EXPECT_DOUBLE_EQ(costs[2], 0.02 * (costs[0] + costs[1]) / 3);
}

TEST(LoadWindowTest, WithoutLoadAllUnitsOfMoeLayersAreEqual) {
  const LoadWindow window(kShape, 1000);
  EXPECT_EQ(window.UnitCosts({}, {LayerIndex{1}}), (std::vector<double>{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(window.steps(), 0);
}

}  // namespace
}  // namespace tessera::router
