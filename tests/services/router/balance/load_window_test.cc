#include "services/router/balance/load_window.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tessera::router {
namespace {

constexpr PlacementShape kShape{.layer_count = 2, .expert_count = 3};

RoutingView View(const std::vector<uint32_t>& experts, const std::vector<float>& weights,
                 size_t top_k) {
  return {experts.size() / top_k, top_k, experts, weights};
}

TEST(ExpertCountersTest, CountsRowsTouchesAndSteps) {
  ExpertCounters counters(kShape);
  const std::vector<uint32_t> experts = {0, 2, 0, 1, 0, 2};  // three rows, two experts each
  const std::vector<float> weights(experts.size(), 0.5f);
  counters.Count(LayerIndex{1}, View(experts, weights, 2));
  counters.Count(LayerIndex{1}, View({0, 1}, {0.5f, 0.5f}, 2));
  const ExpertTotals totals = counters.Read();
  EXPECT_EQ(totals.rows, (std::vector<uint64_t>{0, 0, 0, 4, 2, 2}));
  EXPECT_EQ(totals.touches, (std::vector<uint64_t>{0, 0, 0, 2, 2, 1}));
  EXPECT_EQ(totals.steps, (std::vector<uint64_t>{0, 2}));
}

TEST(ExpertCountersTest, WhatIsOutOfRangeIsNotCounted) {
  ExpertCounters counters(kShape);
  counters.Count(LayerIndex{2}, View({0}, {1.f}, 1));
  counters.Count(LayerIndex{0}, View({3}, {1.f}, 1));
  counters.Count(LayerIndex{0}, View({}, {}, 1));
  const ExpertTotals totals = counters.Read();
  EXPECT_EQ(totals.rows, std::vector<uint64_t>(6));
  EXPECT_EQ(totals.steps, (std::vector<uint64_t>{1, 0}));
}

TEST(ExpertTotalsTest, SinceAndAdd) {
  ExpertCounters counters(kShape);
  counters.Count(LayerIndex{0}, View({0, 1}, {1.f, 1.f}, 2));
  const ExpertTotals before = counters.Read();
  counters.Count(LayerIndex{0}, View({1, 2}, {1.f, 1.f}, 2));
  const ExpertTotals delta = counters.Read().Since(before);
  EXPECT_EQ(delta.rows, (std::vector<uint64_t>{0, 1, 1, 0, 0, 0}));
  ExpertTotals sum = counters.Read().Since({});
  sum.Add(delta);
  EXPECT_EQ(sum.rows, (std::vector<uint64_t>{1, 3, 2, 0, 0, 0}));
  EXPECT_EQ(sum.steps, (std::vector<uint64_t>{3, 0}));
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
