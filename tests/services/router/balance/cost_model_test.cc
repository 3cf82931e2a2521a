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
  EXPECT_FALSE(fit.Fit().fitted) << "the step is not over";
  fit.Fold();
  const CostModel model = fit.Fit();
  EXPECT_TRUE(model.fitted);
  EXPECT_NEAR(model.call_us, 20, 1);
  EXPECT_NEAR(model.touch_us, 55, 0.5);
  EXPECT_NEAR(model.row_us, 1.5, 0.1);
}

TEST(CostFitTest, KnowsNothingBeforeItHasSeenEnough) {
  CostFit fit;
  for (int i = 0; i < 63; ++i) fit.Observe(i % 7 + 1, i % 5 + 9, 100 + i);
  fit.Fold();
  EXPECT_FALSE(fit.Fit().fitted);
  EXPECT_EQ(fit.Fit().touch_us, CostModel{}.touch_us);
}

TEST(CostFitTest, SingleSequencesTellASumOnly) {
  CostFit fit;
  for (int i = 0; i < 500; ++i) fit.Observe(4, 4, 200);
  fit.Fold();
  const CostModel model = fit.Fit();  // one number is all that is known: 50 us an expert with a row
  EXPECT_TRUE(model.fitted);
  EXPECT_NEAR(model.touch_us, 40, 1e-6);
  EXPECT_NEAR(model.row_us, 10, 1e-6);
}

TEST(CostFitTest, SingleSequencesOnManyShardsTellTheCallsCostToo) {
  CostFit fit;
  for (int i = 0; i < 500; ++i) {
    const double experts = 1 + i % 3;
    fit.Observe(experts, experts, 7 + 50 * experts);
  }
  fit.Fold();
  const CostModel model = fit.Fit();
  EXPECT_NEAR(model.call_us, 7, 1e-6);
  EXPECT_NEAR(model.touch_us, 40, 1e-6);
  EXPECT_NEAR(model.row_us, 10, 1e-6);
}

TEST(CostFitTest, AFewNoisyBatchesTellNothing) {
  for (const double batch_us : {150.0, 195.0, 230.0}) {
    CostFit fit;
    Random random(19);
    for (int i = 0; i < 5000; ++i) fit.Observe(4, 4, 200 * (0.9 + 0.2 * random.Uniform()));
    for (int i = 0; i < 5; ++i) fit.Observe(4, 5, batch_us);
    for (int i = 0; i < 100; ++i) fit.Observe(4, 4, 200);
    fit.Fold();
    EXPECT_NEAR(fit.Fit().touch_us, 40, 1);
    EXPECT_NEAR(fit.Fit().row_us, 10, 0.3);
  }
}

TEST(CostFitTest, BatchesTellExpertsFromRowsAgain) {
  CostFit fit;
  for (int i = 0; i < 500; ++i) fit.Observe(4, 4, 20 + 4 * 55 + 4 * 1.5);
  Random random(17);
  for (int i = 0; i < 500; ++i) {
    const auto experts = static_cast<double>(1 + random.Below(32));
    const auto pairs = experts + static_cast<double>(random.Below(64));
    fit.Observe(experts, pairs, 20 + 55 * experts + 1.5 * pairs);
  }
  fit.Fold();
  EXPECT_NEAR(fit.Fit().call_us, 20, 1e-3);
  EXPECT_NEAR(fit.Fit().touch_us, 55, 1e-3);
  EXPECT_NEAR(fit.Fit().row_us, 1.5, 1e-3);
}

TEST(CostFitTest, NoCoefficientIsNegative) {
  CostFit fit;
  Random random(9);
  for (int i = 0; i < 500; ++i) {  // more pairs are answered sooner, which cannot be the pairs'
    const auto experts = static_cast<double>(1 + random.Below(8));
    const auto pairs = static_cast<double>(random.Below(50));
    fit.Observe(experts, pairs, 500 + 10 * experts - 2 * pairs);
  }
  fit.Fold();
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
      if (i % 46 == 45) fit.Fold();
    }
    fit.Fold();
    EXPECT_NEAR(fit.Fit().touch_us, touch_us, 0.5);
  }
}

TEST(CostFitTest, StepsOfAnyLengthTeachTheSame) {
  CostFit one_by_one(/*window=*/200);
  CostFit by_steps(/*window=*/200);
  Random random(13);
  for (int i = 0; i < 1000; ++i) {
    const auto experts = static_cast<double>(1 + random.Below(16));
    const auto pairs = experts + static_cast<double>(random.Below(16));
    const double compute_us = 5 + 20 * random.Uniform() * experts + pairs;
    one_by_one.Observe(experts, pairs, compute_us);
    one_by_one.Fold();
    by_steps.Observe(experts, pairs, compute_us);
    if (random.Below(50) == 0) by_steps.Fold();
  }
  by_steps.Fold();
  EXPECT_NEAR(by_steps.Fit().touch_us, one_by_one.Fit().touch_us, 1e-6);
  EXPECT_NEAR(by_steps.Fit().row_us, one_by_one.Fit().row_us, 1e-6);
}

}  // namespace
}  // namespace tessera::router
