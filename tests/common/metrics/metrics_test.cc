#include "common/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

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

TEST(MetricsTest, WhatIsLookedUpIsFreshInEveryText) {
  Registry registry;
  Gauge asked = registry.AddGauge("tessera_test_asked", "How often.");
  registry.BeforeText([asked]() mutable { asked.Add(1); });
  EXPECT_THAT(registry.Text(), HasSubstr("tessera_test_asked 1\n"));
  EXPECT_THAT(registry.Text(), HasSubstr("tessera_test_asked 2\n"));
}

TEST(MetricsTest, AliasesAreASecondNameWithMoreLabels) {
  Registry registry;
  registry.AddCounter("tessera_test_total", "Things.", {{"model_name", "m"}}).Increment(3);
  registry.AddHistogram("tessera_test_seconds", "Time.", {1.0}).Observe(0.5);
  const MetricAliases aliases = {.names = {{"tessera_test_total", "vllm:test_total"},
                                           {"tessera_test_seconds", "vllm:test_seconds"},
                                           {"tessera_unknown", "vllm:unknown"}},
                                 .labels = {{"engine", "0"}}};
  const std::string text = registry.Text(aliases);
  EXPECT_THAT(text, HasSubstr("# TYPE vllm:test_total counter"));
  EXPECT_THAT(text, HasSubstr("\nvllm:test_total{model_name=\"m\",engine=\"0\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("\nvllm:test_seconds_count{engine=\"0\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("\ntessera_test_total{model_name=\"m\"} 3\n"));
  EXPECT_THAT(text, Not(HasSubstr("unknown")));
  EXPECT_THAT(registry.Text(), Not(HasSubstr("vllm")));
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
