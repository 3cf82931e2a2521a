// The span a router makes of a request whose sender traces it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/router_under_test.h"
#include "tests/support/trace_collector.h"

namespace tessera::router {
namespace {

using ::testing::ElementsAre;
using testing::EventReader;
using testing::GreedyRequest;
using testing::RouterUnderTest;
using testing::TraceCollector;

wire::GenerationParams Traced(std::string id, const char* traceparent) {
  wire::GenerationParams params = GreedyRequest(std::move(id), {1, 2, 3}, 4);
  params.trace = ParseTraceparent(traceparent);
  EXPECT_TRUE(params.trace.has_value());
  return params;
}

constexpr CapacityConfig kCapacity = {.context_max = 128,
                                      .sequences_max = 8,
                                      .waiting_max = 16,
                                      .batch_tokens_max = 64,
                                      .prefill_chunk_max = 16,
                                      .logits_rows_max = 32};
constexpr const char* kSampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
constexpr const char* kUnsampled = "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

TEST(RequestSpanTest, ASampledRequestBecomesASpanUnderItsSender) {
  const TraceCollector collector;
  RouterUnderTest router(kCapacity, collector.endpoint());
  router.loop().Start();
  for (const auto& params : {Traced("unsampled", kUnsampled), Traced("sampled", kSampled),
                             GreedyRequest("plain", {1, 2, 3}, 4)}) {
    const auto reader = EventReader::Submit(router.loop(), params);
    ASSERT_TRUE(reader.ok()) << reader.status();
    EXPECT_EQ((*reader)->AwaitFinished().error, absl::OkStatus());
  }
  ASSERT_TRUE(collector.AwaitSpans(1));
  const auto spans = collector.spans();
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(spans[0].service, "tessera-router");
  EXPECT_EQ(spans[0].name, "generate");
  EXPECT_EQ(spans[0].trace, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(spans[0].parent, "00f067aa0ba902b7");
  EXPECT_NE(spans[0].span, "00f067aa0ba902b7");
  EXPECT_FALSE(spans[0].has_failed);
  EXPECT_THAT(spans[0].events, ElementsAre("prefill", "decode"));
  const auto& attributes = spans[0].attributes;
  EXPECT_EQ(attributes.at("tessera.request_id"), "sampled");
  EXPECT_EQ(attributes.at("tessera.prompt_tokens"), "3");
  EXPECT_EQ(attributes.at("tessera.produced_tokens"), "4");
  EXPECT_EQ(attributes.at("tessera.finish_reason"), "length");
}

TEST(RequestSpanTest, ARequestThatIsCancelledSaysSo) {
  const TraceCollector collector;
  RouterUnderTest router(kCapacity, collector.endpoint());
  router.experts().Close();
  router.loop().Start();
  const auto reader = EventReader::Submit(router.loop(), Traced("left", kSampled));
  ASSERT_TRUE(reader.ok()) << reader.status();
  router.experts().AwaitHeld();
  (*reader)->Cancel();
  router.experts().Open();
  (*reader)->AwaitFinished();
  ASSERT_TRUE(collector.AwaitSpans(1));
  EXPECT_TRUE(collector.spans()[0].has_failed);
  EXPECT_EQ(collector.spans()[0].attributes.at("error.type"), "cancelled");
}

}  // namespace
}  // namespace tessera::router
