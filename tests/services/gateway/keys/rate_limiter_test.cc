#include "services/gateway/keys/rate_limiter.h"

#include <gtest/gtest.h>

#include "services/gateway/api/api_error.h"
#include "tests/support/fake_clock.h"

namespace tessera::gateway {
namespace {

ApiKey Key() {
  ApiKey key;
  key.name = "k";
  return key;
}

TEST(TokenBucketTest, RefillsEvenlyAndMayBeOverdrawn) {
  TokenBucket bucket(60, absl::Minutes(1), absl::Seconds(0));
  bucket.Take(90, absl::Seconds(0));
  EXPECT_EQ(bucket.Level(absl::Seconds(0)), -30);
  EXPECT_EQ(bucket.Until(1, absl::Seconds(0)), absl::Seconds(31));
  EXPECT_NEAR(bucket.Level(absl::Seconds(40)), 10, 1e-9);
  EXPECT_EQ(bucket.Level(absl::Hours(1)), 60);
  EXPECT_EQ(bucket.Until(1000, absl::Hours(1)), absl::ZeroDuration());  // a full one admits all
  bucket.Resize(30, absl::Hours(1));
  EXPECT_EQ(bucket.Level(absl::Hours(1)), 30);
}

TEST(RateLimiterTest, NoLimits) {
  FakeClock clock;
  RateLimiter limiter(clock);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(limiter.Admit(Key(), 1'000'000'000).ok());
  EXPECT_TRUE(limiter.HeadersFor(Key()).empty());
}

TEST(RateLimiterTest, RequestsPerMinute) {
  FakeClock clock;
  RateLimiter limiter(clock);
  ApiKey key = Key();
  key.requests_per_minute = 2;
  EXPECT_TRUE(limiter.Admit(key, 1).ok());
  EXPECT_TRUE(limiter.Admit(key, 1).ok());
  const ApiError error = ToApiError(limiter.Admit(key, 1));
  EXPECT_EQ(error.http_status, 429);
  EXPECT_EQ(error.code, "rate_limit_exceeded");
  EXPECT_EQ(error.retry_after, absl::Seconds(30));
  const RateLimiter::Headers expected = {{"x-ratelimit-limit-requests", "2"},
                                         {"x-ratelimit-remaining-requests", "0"},
                                         {"x-ratelimit-reset-requests", "1m"}};
  EXPECT_EQ(limiter.HeadersFor(key), expected);
  clock.Advance(absl::Seconds(30));
  EXPECT_TRUE(limiter.Admit(key, 1).ok());
}

TEST(RateLimiterTest, TokensPerMinuteGiveBackWhatWasNotUsed) {
  FakeClock clock;
  RateLimiter limiter(clock);
  ApiKey key = Key();
  key.tokens_per_minute = 100;
  EXPECT_TRUE(limiter.Admit(key, 80).ok());
  EXPECT_EQ(ToApiError(limiter.Admit(key, 80)).retry_after, absl::Seconds(36));
  EXPECT_TRUE(limiter.Check(key).ok());  // a small one would find room
  limiter.Release(key, 80, 10);
  EXPECT_TRUE(limiter.Admit(key, 80).ok());
  limiter.Release(key, 80, 200);  // more than was said
  EXPECT_FALSE(limiter.Admit(key, 1).ok());
  EXPECT_FALSE(limiter.Check(key).ok());
  clock.Advance(absl::Minutes(5));
  EXPECT_TRUE(limiter.Admit(key, 5000).ok());  // more than a minute's worth, from a full bucket
}

TEST(RateLimiterTest, RequestsAtATime) {
  FakeClock clock;
  RateLimiter limiter(clock);
  ApiKey key = Key();
  key.parallel_max = 1;
  EXPECT_TRUE(limiter.Admit(key, 1).ok());
  EXPECT_FALSE(limiter.Admit(key, 1).ok());
  limiter.Release(key, 1, 1);
  EXPECT_TRUE(limiter.Admit(key, 1).ok());
}

TEST(RateLimiterTest, ARefusedRequestCostsNothing) {
  FakeClock clock;
  RateLimiter limiter(clock);
  ApiKey key = Key();
  key.requests_per_minute = 10;
  key.tokens_per_minute = 10;
  EXPECT_TRUE(limiter.Admit(key, 10).ok());
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(limiter.Admit(key, 10).ok());
  EXPECT_EQ(limiter.HeadersFor(key)[1].second, "9");
}

TEST(RateLimiterTest, KeysDoNotShareAndAReloadKeepsTheUse) {
  FakeClock clock;
  RateLimiter limiter(clock);
  ApiKey a = Key();
  a.requests_per_minute = 1;
  ApiKey b = a;
  b.name = "b";
  EXPECT_TRUE(limiter.Admit(a, 1).ok());
  EXPECT_TRUE(limiter.Admit(b, 1).ok());
  a.requests_per_minute = 2;
  EXPECT_TRUE(limiter.Admit(a, 1).ok());
  EXPECT_FALSE(limiter.Admit(a, 1).ok());
}

}  // namespace
}  // namespace tessera::gateway
