#include "services/router/tally/rolling_counts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "common/concurrency/thread.h"

namespace tessera::router {
namespace {

using ::testing::ElementsAre;

TEST(RollingCountsTest, TheWindowIsTenSecondsAndTheTotalIsAll) {
  RollingCounts counts(2);
  counts.Begin(100);
  counts.Add(0, 3);
  counts.Begin(101);
  counts.Add(0, 1);
  counts.Add(1, 5);
  counts.Add(1, 2);
  EXPECT_THAT(counts.Window(101), ElementsAre(4, 7));
  EXPECT_THAT(counts.Window(109), ElementsAre(4, 7));
  EXPECT_THAT(counts.Window(110), ElementsAre(1, 7));
  EXPECT_THAT(counts.Window(111), ElementsAre(0, 0));
  EXPECT_THAT(counts.Totals(), ElementsAre(4, 7));
}

TEST(RollingCountsTest, ARowOfTheRingIsBegunAnew) {
  RollingCounts counts(1);
  for (int64_t second = 0; second < 100; ++second) {
    counts.Begin(second);
    counts.Add(0, 1);
    EXPECT_THAT(counts.Window(second), ElementsAre(std::min<int64_t>(second + 1, 10)));
  }
  // Long idle: nothing old comes back.
  counts.Begin(1'000'000);
  EXPECT_THAT(counts.Window(1'000'000), ElementsAre(0));
  EXPECT_THAT(counts.Totals(), ElementsAre(100));
}

TEST(RollingCountsTest, AnEmptyOneIsZero) {
  const RollingCounts counts(3);
  EXPECT_THAT(counts.Window(5), ElementsAre(0, 0, 0));
  EXPECT_THAT(counts.Window(0), ElementsAre(0, 0, 0));
}

TEST(RollingCountsTest, AReaderMayWatchTheWriter) {
  RollingCounts counts(4);
  constexpr int64_t kSeconds = 2000;
  constexpr uint32_t kEach = 3;
  std::atomic<int64_t> now{0};
  Thread writer("writer", [&](std::stop_token) {
    for (int64_t second = 0; second < kSeconds; ++second) {
      counts.Begin(second);
      for (size_t i = 0; i < counts.size(); ++i) counts.Add(i, kEach);
      now.store(second);
    }
  });
  for (int64_t seen = 0; seen + 1 < kSeconds;) {
    seen = now.load();
    // The writer is at most one row further than what it tells, or a reader is late: never more
    // than a window's worth.
    for (const uint64_t sum : counts.Window(seen)) {
      EXPECT_LE(sum, kEach * RollingCounts::kWindowSeconds);
    }
  }
  writer.Join();
  EXPECT_THAT(counts.Totals(), ::testing::Each(kEach * kSeconds));
}

}  // namespace
}  // namespace tessera::router
