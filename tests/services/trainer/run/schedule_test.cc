#include "services/trainer/run/schedule.h"

#include <gtest/gtest.h>

namespace tessera::trainer {
namespace {

TEST(ScheduleTest, WarmsUpStaysAndFallsToZero) {
  const Schedule schedule = {.steps = 1000, .warmup = 0.01, .decay = 0.4};
  EXPECT_DOUBLE_EQ(schedule.RateScale(1), 0.1);
  EXPECT_DOUBLE_EQ(schedule.RateScale(10), 1.0);
  EXPECT_DOUBLE_EQ(schedule.RateScale(601), 1.0);
  EXPECT_DOUBLE_EQ(schedule.RateScale(801), 0.5);
  EXPECT_DOUBLE_EQ(schedule.RateScale(1000), 1.0 / 400);
  EXPECT_DOUBLE_EQ(schedule.DecayScale(1), 1.0);
}

TEST(ScheduleTest, Cosine) {
  const Schedule schedule = {.steps = 100, .warmup = 0, .decay = 1, .shape = DecayShape::kCosine};
  EXPECT_DOUBLE_EQ(schedule.RateScale(1), 1.0);
  EXPECT_NEAR(schedule.RateScale(51), 0.5, 1e-12);
  EXPECT_LT(schedule.RateScale(100), 1e-3);
  EXPECT_GT(schedule.RateScale(100), 0);
}

TEST(ScheduleTest, ARunOfOneStep) { EXPECT_DOUBLE_EQ(Schedule{.steps = 1}.RateScale(1), 1.0); }

}  // namespace
}  // namespace tessera::trainer
