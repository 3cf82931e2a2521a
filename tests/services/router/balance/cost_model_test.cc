#include "services/router/balance/cost_model.h"

#include <gtest/gtest.h>

#include "common/base/random.h"

namespace tessera::router {
namespace {

TEST(CostFitTest, FindsTheLineThroughNoise) {
  CostFit fit;
  Random random(7);
  for (int i = 0; i < 2000; ++i) {
    const auto experts = static_cast<double>(1 + random.Below(32));
    const auto pairs = experts + static_cast<double>(random.Below(64));
    const double noise = 4 * (random.Uniform() - 0.5);
    fit.Observe(experts, pairs, 20 + 55 * experts + 1.5 * pairs + noise);
  }
  const CostModel model = fit.Fit();
  EXPECT_TRUE(model.fitted);
  EXPECT_NEAR(model.call_us, 20, 1);
  EXPECT_NEAR(model.touch_us, 55, 0.5);
  EXPECT_NEAR(model.row_us, 1.5, 0.1);
}

TEST(CostFitTest, KnowsNothingBeforeItHasSeenEnough) {
  CostFit fit;
  for (int i = 0; i < 63; ++i) fit.Observe(i % 7 + 1, i % 5 + 9, 100 + i);
  EXPECT_FALSE(fit.Fit().fitted);
  EXPECT_EQ(fit.Fit().touch_us, CostModel{}.touch_us);
}

TEST(CostFitTest, WhatNeverVariesIsNotGuessed) {
  CostFit fit;
  for (int i = 0; i < 500; ++i) fit.Observe(4, 4, 200);
  const CostModel model = fit.Fit();  // one number is all that is known: so much an expert
  EXPECT_TRUE(model.fitted);
  EXPECT_NEAR(model.touch_us, 50, 1e-6);
  EXPECT_EQ(model.row_us, 0);
}

TEST(CostFitTest, NoCoefficientIsNegative) {
  CostFit fit;
  Random random(9);
  for (int i = 0; i < 500; ++i) {  // more pairs are answered sooner, which cannot be the pairs'
    const auto experts = static_cast<double>(1 + random.Below(8));
    const auto pairs = static_cast<double>(random.Below(50));
    fit.Observe(experts, pairs, 500 + 10 * experts - 2 * pairs);
  }
  const CostModel model = fit.Fit();
  EXPECT_TRUE(model.fitted);
  EXPECT_GE(model.call_us, 0);
  EXPECT_GT(model.touch_us, 0);
  EXPECT_GE(model.row_us, 0);
}

TEST(CostFitTest, ForgetsWhatWasBefore) {
  CostFit fit(/*window=*/200);
  Random random(11);
  for (const double touch_us : {10.0, 90.0}) {
    for (int i = 0; i < 3000; ++i) {
      const auto experts = static_cast<double>(1 + random.Below(16));
      const auto pairs = experts + static_cast<double>(random.Below(16));
      fit.Observe(experts, pairs, 5 + touch_us * experts + pairs);
    }
    EXPECT_NEAR(fit.Fit().touch_us, touch_us, 0.5);
  }
}

}  // namespace
}  // namespace tessera::router
