#include "services/expert_shard/batching/load_meter.h"

#include <gtest/gtest.h>

namespace tessera::expert_shard {
namespace {

constexpr absl::Duration kStart = absl::Seconds(5000);

TEST(LoadMeterTest, BusyIsTheShareOfTheLastSecond) {
  LoadMeter meter;
  EXPECT_EQ(meter.BusyRatio(kStart), 0.0);
  for (int i = 0; i < 10; ++i) {
    const absl::Duration at = kStart + i * absl::Milliseconds(100);
    meter.CountBusy(at, at + absl::Milliseconds(25));
  }
  EXPECT_NEAR(meter.BusyRatio(kStart + absl::Milliseconds(999)), 0.25, 0.01);
  EXPECT_NEAR(meter.BusyRatio(kStart + absl::Milliseconds(1499)), 0.125, 0.01);
  EXPECT_EQ(meter.BusyRatio(kStart + absl::Seconds(3)), 0.0);
}

TEST(LoadMeterTest, ABatchLongerThanASecondIsAllBusy) {
  LoadMeter meter;
  meter.CountBusy(kStart, kStart + absl::Milliseconds(2500));
  EXPECT_NEAR(meter.BusyRatio(kStart + absl::Milliseconds(2500)), 1.0, 0.12);
}

TEST(LoadMeterTest, TheMedianOfWaits) {
  LoadMeter meter;
  EXPECT_EQ(meter.WaitMedian(kStart), absl::ZeroDuration());
  for (const int us : {0, 3, 100, 120, 5000}) meter.CountWait(kStart, absl::Microseconds(us));
  EXPECT_EQ(meter.WaitMedian(kStart), absl::Microseconds(128));
  EXPECT_EQ(meter.WaitMedian(kStart + absl::Seconds(2)), absl::ZeroDuration());
}

}  // namespace
}  // namespace tessera::expert_shard
