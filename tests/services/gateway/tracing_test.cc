// What a gateway does with traceparent, and what a collector of traces sees of its requests.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "services/gateway/gateway_server.h"
#include "tests/support/raw_http.h"
#include "tests/support/stub_router.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_gateway.h"
#include "tests/support/trace_collector.h"
#include "tests/support/wait_until.h"

namespace tessera::gateway {
namespace {

using testing::CollectedSpan;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::RawReply;
using testing::StubRouter;
using testing::TraceCollector;

constexpr const char* kSampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
constexpr const char* kUnsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

class GatewayTracingTest : public ::testing::Test {
 protected:
  void Start(const std::string& endpoint, double sample_ratio = 0) {
    GatewayConfig config = testing::TinyGateway(folder_.path(), {router_.address()}, 4096);
    config.tracing.endpoint = endpoint;
    config.tracing.sample_ratio = sample_ratio;
    auto server = GatewayServer::Start(config, clock_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    ASSERT_TRUE(testing::WaitUntil([this] {
      return testing::Fetch(server_->http_port(), testing::RawGet("/readyz")).status == 200;
    }));
  }
  RawReply Chat(const std::string& traceparent, std::string_view more = "") {
    std::string headers = "x-request-id: mine\r\n";
    if (!traceparent.empty()) absl::StrAppend(&headers, "traceparent: ", traceparent, "\r\n");
    const std::string body =
        absl::StrCat(R"({"model":"tiny","max_tokens":3,"messages":[{"role":"user","content":)",
                     R"("a secret"}])", std::string(more), "}");
    return testing::Fetch(server_->http_port(),
                          testing::RawPost("/v1/chat/completions", body, headers));
  }

  const testing::TempFolder folder_;
  RealClock clock_;
  StubRouter router_;
  std::unique_ptr<GatewayServer> server_;
};

TEST_F(GatewayTracingTest, ASampledChatIsASpanAndTheRouterHangsBelowIt) {
  const TraceCollector collector;
  Start(collector.endpoint());
  const RawReply reply = Chat(kSampled);
  ASSERT_EQ(reply.status, 200) << reply.body;
  ASSERT_TRUE(collector.AwaitSpans(1));
  ASSERT_EQ(collector.spans().size(), 1u);
  const CollectedSpan span = collector.spans()[0];
  EXPECT_EQ(span.service, "tessera-gateway");
  EXPECT_EQ(span.name, "chat tiny");
  EXPECT_EQ(span.kind, 2);
  EXPECT_EQ(span.trace, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(span.parent, "00f067aa0ba902b7");
  EXPECT_LE(span.start_ns, span.end_ns);
  EXPECT_FALSE(span.has_failed);
  EXPECT_THAT(span.events, ::testing::ElementsAre("first_token"));
  EXPECT_EQ(span.attributes.at("gen_ai.operation.name"), "chat");
  EXPECT_EQ(span.attributes.at("gen_ai.request.model"), "tiny");
  EXPECT_EQ(span.attributes.at("gen_ai.request.max_tokens"), "3");
  EXPECT_EQ(span.attributes.at("gen_ai.usage.output_tokens"), "3");
  EXPECT_EQ(span.attributes.at("gen_ai.response.finish_reasons"), "length");
  EXPECT_EQ(span.attributes.at("tessera.request_id"), "mine");
  for (const auto& [key, value] : span.attributes) EXPECT_THAT(value, Not(HasSubstr("secret")));
  ASSERT_EQ(router_.requests().size(), 1u);
  const auto trace = router_.requests()[0].trace;
  ASSERT_TRUE(trace.has_value());
  EXPECT_EQ(HexOf(trace->trace), span.trace);
  EXPECT_EQ(HexOf(trace->span), span.span);
  EXPECT_TRUE(trace->sampled);
}

TEST_F(GatewayTracingTest, EveryWayToEndIsOneSpan) {
  const TraceCollector collector;
  Start(collector.endpoint());
  router_.RefuseWith(absl::InternalError("broken"), absl::ZeroDuration());
  EXPECT_EQ(Chat(kSampled).status, 500);
  ASSERT_TRUE(collector.AwaitSpans(1));
  EXPECT_TRUE(collector.spans()[0].has_failed);
  EXPECT_EQ(collector.spans()[0].attributes.at("error.type"), "internal");
  EXPECT_TRUE(collector.spans()[0].events.empty());
}

TEST_F(GatewayTracingTest, WithoutTraceparentTheRatioDecides) {
  const TraceCollector collector;
  Start(collector.endpoint(), /*sample_ratio=*/1);
  ASSERT_EQ(Chat(kUnsampled).status, 200);
  ASSERT_EQ(Chat("no traceparent at all").status, 200);
  ASSERT_TRUE(collector.AwaitSpans(1));
  EXPECT_EQ(collector.spans().size(), 1u);
  EXPECT_EQ(collector.spans()[0].parent, "");
  const auto requests = router_.requests();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_FALSE(requests[0].trace->sampled);
  EXPECT_EQ(HexOf(requests[0].trace->trace), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(HexOf(requests[1].trace->trace), collector.spans()[0].trace);
}

TEST_F(GatewayTracingTest, OffSendsNothingAndCarriesOnWhatCame) {
  const TraceCollector collector;  // that nobody is told of
  Start("");
  ASSERT_EQ(Chat(kSampled).status, 200);
  ASSERT_EQ(Chat("").status, 200);
  server_.reset();
  EXPECT_EQ(collector.post_count(), 0u);
  const auto requests = router_.requests();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(FormatTraceparent(*requests[0].trace), kSampled);
  ASSERT_TRUE(requests[1].trace.has_value());  // a trace of its own, not sampled
  EXPECT_FALSE(requests[1].trace->sampled);
}

}  // namespace
}  // namespace tessera::gateway
