#include "services/router/dispatch/shard_health.h"

#include "common/base/random.h"
#include "gtest/gtest.h"

namespace tessera::router {
namespace {

using absl::Milliseconds;
using Breaker = ShardHealth::Breaker;

TEST(LatencyEstimate, LiesNearTheTail) {
  LatencyEstimate estimate;
  Random random(1);
  for (int i = 0; i < 5000; ++i) {
    estimate.Add(1, Milliseconds(1) * (random.Below(100) < 2 ? 5.0 : 1 + random.Uniform()));
  }
  EXPECT_GT(estimate.P99(1), Milliseconds(1.9));
  EXPECT_LT(estimate.P99(1), Milliseconds(5));
}

TEST(LatencyEstimate, ForgetsABadHour) {
  LatencyEstimate estimate;
  estimate.Add(1, absl::Seconds(1));
  for (int i = 0; i < 2000; ++i) estimate.Add(1, Milliseconds(1));
  EXPECT_LT(estimate.P99(1), Milliseconds(2));
}

TEST(LatencyEstimate, ScalesByRows) {
  LatencyEstimate estimate;
  EXPECT_EQ(estimate.P99(1), absl::ZeroDuration());
  estimate.Add(4, Milliseconds(1));
  EXPECT_EQ(estimate.P99(3), Milliseconds(1));
  EXPECT_EQ(estimate.P99(1), Milliseconds(1));
  EXPECT_EQ(estimate.P99(64), Milliseconds(16));
  estimate.Add(64, Milliseconds(3));
  EXPECT_EQ(estimate.P99(64), Milliseconds(3));
  EXPECT_EQ(estimate.P99(1 << 30), Milliseconds(3) * 2048);  // the last bucket
}

TEST(ShardHealth, TimeoutsAreFlooredScaledAndDoubled) {
  DispatchConfig config;
  ShardHealth health(config);
  EXPECT_EQ(health.Timeout(1, 0), config.timeout_unknown);
  EXPECT_EQ(health.HedgeAfter(1), absl::InfiniteDuration());
  health.OnAnswer(1, Milliseconds(1));
  EXPECT_EQ(health.Timeout(1, 0), Milliseconds(50));
  EXPECT_EQ(health.Timeout(1, 2), Milliseconds(200));
  EXPECT_EQ(health.Timeout(64, 0), Milliseconds(256));
  EXPECT_EQ(health.Timeout(1, 100), Milliseconds(1600));
  for (int i = 0; i < 40; ++i) health.OnAnswer(1, Milliseconds(8));
  EXPECT_GT(health.HedgeAfter(1), Milliseconds(7.9));
}

TEST(ShardHealth, TheBreakerOpensProbesAndBacksOff) {
  DispatchConfig config;
  config.breaker_failures = 2;
  ShardHealth health(config);
  absl::Duration now = absl::Seconds(5);
  health.OnFailure(now, now);
  EXPECT_EQ(health.breaker(now), Breaker::kClosed);
  health.OnFailure(now, now);
  EXPECT_EQ(health.breaker(now), Breaker::kOpen);
  now += config.breaker_pause;
  EXPECT_EQ(health.breaker(now), Breaker::kHalfOpen);
  health.OnFailure(now, now);
  now += config.breaker_pause;
  EXPECT_EQ(health.breaker(now), Breaker::kOpen) << "the pause doubles";
  now += config.breaker_pause;
  EXPECT_EQ(health.breaker(now), Breaker::kHalfOpen);
  health.OnAnswer(1, Milliseconds(1));
  EXPECT_EQ(health.breaker(now), Breaker::kClosed);
}

TEST(ShardHealth, CallsThatAreLateTogetherCountOnce) {
  DispatchConfig config;
  config.breaker_failures = 2;
  ShardHealth health(config);
  const absl::Duration posted = absl::Seconds(5);
  const absl::Duration now = posted + Milliseconds(50);
  for (int i = 0; i < 10; ++i) health.OnTimeout(posted, now);
  EXPECT_EQ(health.breaker(now), Breaker::kClosed);
  EXPECT_TRUE(health.suspect(now));
  health.OnTimeout(now, now + Milliseconds(100));
  EXPECT_EQ(health.breaker(now + Milliseconds(100)), Breaker::kOpen);
}

TEST(ShardHealth, SuspicionPassesOrIsAnswered) {
  DispatchConfig config;
  ShardHealth health(config);
  const absl::Duration now = absl::Seconds(5);
  EXPECT_FALSE(health.suspect(now));
  health.OnTimeout(now, now);
  EXPECT_TRUE(health.suspect(now + config.suspicion / 2));
  EXPECT_FALSE(health.suspect(now + config.suspicion));
  health.OnAnswer(1, Milliseconds(1));
  EXPECT_FALSE(health.suspect(now));
}

}  // namespace
}  // namespace tessera::router
