#include "common/tracing/tracer.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/support/fake_clock.h"
#include "tests/support/trace_collector.h"

namespace tessera {
namespace {

using testing::TraceCollector;

constexpr std::string_view kSampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

class TracerTest : public ::testing::Test {
 protected:
  std::unique_ptr<Tracer> Start(TracerConfig config) {
    config.resource.service = "tessera-test";
    auto tracer = Tracer::Start(config, clock_, registry_);
    EXPECT_TRUE(tracer.ok()) << tracer.status();
    return *std::move(tracer);
  }

  FakeClock clock_;
  Registry registry_;
};

TEST_F(TracerTest, OffCarriesOnWhatCameAndRecordsNothing) {
  const auto tracer = Start({});
  const auto incoming = ParseTraceparent(kSampled);
  const Tracer::Scope scope = tracer->Begin(incoming);
  EXPECT_EQ(scope.context, *incoming);
  EXPECT_FALSE(scope.is_recorded);
  const Tracer::Scope fresh = tracer->Begin(std::nullopt);
  EXPECT_TRUE(ParseTraceparent(FormatTraceparent(fresh.context)).has_value());
  EXPECT_FALSE(fresh.context.sampled);
  EXPECT_FALSE(fresh.is_recorded);
  EXPECT_EQ(tracer->sink(), nullptr);
  EXPECT_EQ(registry_.Text().find("tessera_spans"), std::string::npos);
}

TEST_F(TracerTest, TheSampledFlagOfTheSenderDecides) {
  const TraceCollector collector;
  const auto tracer = Start({.endpoint = collector.endpoint(), .sample_ratio = 1});
  auto incoming = *ParseTraceparent(kSampled);
  const Tracer::Scope scope = tracer->Begin(incoming);
  EXPECT_EQ(scope.context.trace, incoming.trace);
  EXPECT_NE(scope.context.span, incoming.span);
  EXPECT_EQ(scope.parent, incoming.span);
  EXPECT_TRUE(scope.is_recorded);
  incoming.sampled = false;
  EXPECT_FALSE(tracer->Begin(incoming).is_recorded);
  EXPECT_FALSE(tracer->Begin(incoming).context.sampled);
}

TEST_F(TracerTest, TheRatioDecidesForTheOthers) {
  const TraceCollector collector;
  const auto sampled_of_1000 = [&](double ratio) {
    const auto tracer = Start({.endpoint = collector.endpoint(), .sample_ratio = ratio});
    int count = 0;
    for (int i = 0; i < 1000; ++i) count += tracer->Begin(std::nullopt).is_recorded;
    return count;
  };
  EXPECT_EQ(sampled_of_1000(0), 0);
  EXPECT_EQ(sampled_of_1000(1), 1000);
  const int some = sampled_of_1000(0.2);  // 200 +- 13; 8 of those aside
  EXPECT_GT(some, 96);
  EXPECT_LT(some, 304);
}

TEST_F(TracerTest, IdsDoNotComeTwice) {
  const auto a = Start({});
  const auto b = Start({});
  std::set<TraceId> traces;
  std::set<SpanId> spans;
  for (int i = 0; i < 500; ++i) {
    for (Tracer* tracer : {a.get(), b.get()}) {
      const Tracer::Scope scope = tracer->Begin(std::nullopt);
      EXPECT_EQ(scope.parent, kNoSpan);
      traces.insert(scope.context.trace);
      spans.insert(scope.context.span);
    }
  }
  EXPECT_EQ(traces.size(), 1000u);
  EXPECT_EQ(spans.size(), 1000u);
}

TEST_F(TracerTest, AWrongConfigIsNamed) {
  for (const double ratio : {-0.1, 1.1}) {
    const absl::Status status = TracerConfig{.sample_ratio = ratio}.Validate();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find("otlp_sample_ratio"), std::string::npos) << status;
  }
  const absl::Status status = TracerConfig{.endpoint = "https://x:1"}.Validate();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("otlp_endpoint"), std::string::npos) << status;
}

}  // namespace
}  // namespace tessera
