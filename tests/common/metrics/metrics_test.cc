#include "common/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

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

TEST(MetricsTest, ATallyIsSeenWhenItIsCommitted) {
  Registry registry;
  const std::vector<double> bounds = {0.1, 1.0};
  Histogram direct = registry.AddHistogram("tessera_test_direct_seconds", "Time.", bounds);
  HistogramTally times(registry.AddHistogram("tessera_test_tallied_seconds", "Time.", bounds),
                       bounds);
  CounterTally calls(registry.AddCounter("tessera_test_calls_total", "Calls."));
  const auto lines_of = [&](const std::string& what) {
    std::vector<std::string> lines;
    for (const absl::string_view line : absl::StrSplit(registry.Text(), '\n')) {
      if (absl::StartsWith(line, absl::StrCat("tessera_test_", what))) {
        lines.emplace_back(line.substr(line.find('_', 13)));
      }
    }
    return lines;
  };
  for (int round = 0; round < 2; ++round) {
    for (const double value : {0.0, 0.05, 0.1, 0.10001, 1.0, 1.5, 700.0}) {
      direct.Observe(value);
      times.Observe(value);
      calls.Add(2);
    }
    EXPECT_NE(lines_of("direct"), lines_of("tallied")) << "not told yet";
    times.Commit();
    calls.Commit();
    calls.Commit();
    EXPECT_EQ(lines_of("direct"), lines_of("tallied"));
    EXPECT_THAT(registry.Text(),
                HasSubstr(absl::StrCat("\ntessera_test_calls_total ", 14 * (round + 1), "\n")));
  }
  HistogramTally().Observe(1);  // without a metric: nothing
  CounterTally().Commit();
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
