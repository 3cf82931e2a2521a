#include "common/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using ::testing::HasSubstr;

TEST(MetricsTest, TextShowsEverySeries) {
  Registry registry;
  registry.AddCounter("tessera_test_calls_total", "Calls.", {{"shard", "3"}}).Increment(2);
  registry.AddCounter("tessera_test_calls_total", "Calls.", {{"shard", "4"}}).Increment();
  registry.AddGauge("tessera_test_running", "Running.").Set(7);
  registry.AddHistogram("tessera_test_seconds", "Time.", {0.1, 1.0}).Observe(0.5);
  const std::string text = registry.Text();
  EXPECT_THAT(text, HasSubstr("# TYPE tessera_test_calls_total counter"));
  EXPECT_THAT(text, HasSubstr("tessera_test_calls_total{shard=\"3\"} 2"));
  EXPECT_THAT(text, HasSubstr("tessera_test_calls_total{shard=\"4\"} 1"));
  EXPECT_THAT(text, HasSubstr("tessera_test_running 7"));
  EXPECT_THAT(text, HasSubstr("tessera_test_seconds_bucket{le=\"0.1\"} 0"));
  EXPECT_THAT(text, HasSubstr("tessera_test_seconds_bucket{le=\"1\"} 1"));
}

TEST(MetricsTest, TheSameSeriesIsTheSameMetric) {
  Registry registry;
  Counter first = registry.AddCounter("tessera_test_total", "Things.");
  Counter second = registry.AddCounter("tessera_test_total", "Things.");
  first.Increment();
  second.Increment();
  EXPECT_EQ(first.value(), 2);
}

TEST(MetricsTest, AHandleWithoutMetricDoesNothing) {
  Counter counter;
  counter.Increment();
  Gauge gauge;
  gauge.Set(1);
  Histogram().Observe(1);
  EXPECT_EQ(counter.value(), 0);
  EXPECT_EQ(gauge.value(), 0);
}

}  // namespace
}  // namespace tessera
