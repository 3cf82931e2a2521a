// What clients see of a gateway besides the answers: names, errors, readiness, the signs of life of
// a stream.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/concurrency/thread.h"
#include "common/json/json.h"
#include "common/json/json_writer.h"
#include "services/gateway/gateway_server.h"
#include "tests/support/fake_clock.h"
#include "tests/support/raw_http.h"
#include "tests/support/stub_router.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_gateway.h"
#include "tests/support/wait_until.h"

namespace tessera::gateway {
namespace {

using testing::Fetch;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::RawConnection;
using testing::RawGet;
using testing::RawPost;
using testing::RawReply;
using testing::StubRouter;

class FrontDoorTest : public ::testing::Test {
 protected:
  void Start(const Clock& clock) {
    auto server = GatewayServer::Start(config_, clock);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    AwaitReadiness(200);
  }
  void AwaitReadiness(int status) {
    ASSERT_TRUE(
        testing::WaitUntil([&] { return Fetch(port(), RawGet("/readyz")).status == status; }));
  }
  int port() const { return server_->http_port(); }
  static std::string Chat(std::string_view more = "", std::string_view headers = "") {
    return RawPost(
        "/v1/chat/completions",
        absl::StrCat(R"({"messages":[{"role":"user","content":"Hi"}])", std::string(more), "}"),
        headers);
  }
  static std::string Message(std::string_view more = "", std::string_view headers = "") {
    return RawPost("/v1/messages",
                   absl::StrCat(R"({"max_tokens":9,"messages":[{"role":"user","content":"Hi"}])",
                                std::string(more), "}"),
                   headers);
  }
  // The member of an error of OpenAI's shape; empty if it is null or not there.
  static std::string Member(const RawReply& reply, std::string_view key) {
    const auto body = JsonDocument::Parse(reply.body);
    if (!body.ok() || !body->root().Find("error").has_value()) return "no error: " + reply.body;
    const auto value = body->root().Find("error")->Find(key);
    return value.has_value() && value->is_string() ? std::string(*value->AsString()) : "";
  }

  const testing::TempFolder folder_;
  const RealClock real_clock_;
  FakeClock fake_clock_;
  StubRouter router_{testing::Storyteller("A story that is told.")};
  GatewayConfig config_ = testing::TinyGateway(folder_.path(), {router_.address()}, 4096);
  std::unique_ptr<GatewayServer> server_;
};

TEST_F(FrontDoorTest, ABrokenCallOfOursCanBeSentBack) {
  StubRouter broken(testing::Storyteller(
      "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"zone\": \"UTC\", oops}}\n</tool_call>"));
  config_.pool.addresses = {broken.address()};
  Start(real_clock_);
  constexpr std::string_view kTools =
      R"(,"tools":[{"type":"function","function":{"name":"now","parameters":{}}}])";
  const RawReply first = Fetch(port(), Chat(kTools));
  ASSERT_THAT(first.body, HasSubstr(R"("finish_reason":"tool_calls")"));
  const auto body = JsonDocument::Parse(first.body);
  const JsonValue calls = *body->root().Find("choices")->at(0).Find("message")->Find("tool_calls");
  const std::string arguments(*calls.at(0).Find("function")->Find("arguments")->AsString());
  ASSERT_FALSE(JsonDocument::Parse(arguments).ok()) << arguments;
  const std::string id(*calls.at(0).Find("id")->AsString());
  std::string quoted;
  AppendJsonString(arguments, quoted);
  const RawReply second = Fetch(
      port(),
      RawPost("/v1/chat/completions",
              absl::StrCat(R"({"messages":[{"role":"user","content":"Hi"},{"role":"assistant",)",
                           R"("content":null,"tool_calls":[{"id":")", id,
                           R"(","type":"function","function":{"name":"now","arguments":)", quoted,
                           R"(}}]},{"role":"tool","tool_call_id":")", id,
                           R"(","content":"these arguments are no JSON"}])", std::string(kTools),
                           "}")));
  EXPECT_EQ(second.status, 200) << second.body;
  EXPECT_GT(broken.requests().at(1).prompt.size(), broken.requests().at(0).prompt.size());
}

TEST_F(FrontDoorTest, AnthropicsClientsFindTheRequestsName) {
  Start(real_clock_);
  const RawReply whole = Fetch(port(), Message());
  EXPECT_EQ(whole.status, 200) << whole.body;
  EXPECT_THAT(whole.Header("request-id"), HasSubstr("req-"));
  EXPECT_EQ(whole.Header("request-id"), whole.Header("x-request-id"));
  const RawReply stream = Fetch(port(), Message(R"(,"stream":true)", "X-Request-Id: mine\r\n"));
  EXPECT_EQ(stream.Header("request-id"), "mine");
  const RawReply wrong = Fetch(port(), Message(R"(,"top_p":7)", "X-Request-Id: mine\r\n"));
  EXPECT_EQ(wrong.status, 400);
  EXPECT_EQ(wrong.Header("request-id"), "mine");
  EXPECT_THAT(wrong.body, HasSubstr(R"("request_id":"mine")"));
  EXPECT_EQ(Fetch(port(), Chat()).Header("request-id"), "");
}

TEST_F(FrontDoorTest, AStreamsErrorBearsTheRequestsName) {
  router_.HoldAt(3);
  Start(fake_clock_);
  RawConnection client(port());
  ASSERT_TRUE(
      client.Send(Message(R"(,"stream":true)", "X-Request-Id: mine\r\nX-Request-Timeout: 30\r\n")));
  ASSERT_TRUE(client.ReadUntil("text_delta").has_value());
  fake_clock_.Advance(absl::Seconds(31));
  const auto rest = client.ReadUntil("0\r\n\r\n");
  ASSERT_TRUE(rest.has_value());
  EXPECT_THAT(*rest, HasSubstr("event: error\n"));
  EXPECT_THAT(*rest, HasSubstr(R"("request_id":"mine")"));
}

TEST_F(FrontDoorTest, TheBodysNameIsEchoedUnlessAHeaderGivesOne) {
  Start(real_clock_);
  const std::string body = R"(,"request_id":"of-the-body")";
  EXPECT_EQ(Fetch(port(), Chat(body)).Header("x-request-id"), "of-the-body");
  EXPECT_EQ(Fetch(port(), Chat(body + R"(,"stream":true)")).Header("x-request-id"), "of-the-body");
  EXPECT_EQ(Fetch(port(), Chat(body, "X-Request-Id: of-the-header\r\n")).Header("x-request-id"),
            "of-the-header");
}

TEST_F(FrontDoorTest, ErrorsOfTheHttpLayerAreLikeTheOthers) {
  config_.http.body_bytes_max = 2000;
  config_.http.body_bytes_total_max = 1500;
  Start(fake_clock_);
  const std::string large(2001, ' ');
  const std::string name = "X-Request-Id: mine\r\n";
  const RawReply too_large = Fetch(port(), RawPost("/v1/chat/completions", large, name));
  EXPECT_EQ(too_large.status, 413);
  EXPECT_EQ(Member(too_large, "type"), "invalid_request_error");
  EXPECT_EQ(too_large.Header("x-request-id"), "mine");
  const RawReply message = Fetch(port(), RawPost("/v1/messages", large, name));
  EXPECT_EQ(message.status, 413);
  EXPECT_THAT(message.body, HasSubstr(R"("error":{"type":"request_too_large")"));
  EXPECT_THAT(message.body, HasSubstr(R"("request_id":"mine")"));
  EXPECT_EQ(message.Header("request-id"), "mine");
  const RawReply many = Fetch(port(), RawPost("/v1/chat/completions", std::string(1800, ' ')));
  EXPECT_EQ(many.status, 503);
  EXPECT_EQ(Member(many, "code"), "engine_unavailable");
  EXPECT_NE(many.Header("retry-after"), "");
  const RawReply headers =
      Fetch(port(), RawGet("/livez", absl::StrCat("A: ", std::string(40 << 10, 'x'), "\r\n")));
  EXPECT_EQ(headers.status, 431);
  EXPECT_EQ(Member(headers, "type"), "invalid_request_error");
  RawConnection slow(port());
  ASSERT_TRUE(slow.Send("POST /v1/chat/completions HTTP/1.1\r\nHost:"));
  while (!slow.IsReadable(20)) fake_clock_.Advance(absl::Seconds(1));
  const RawReply late = slow.ReadReply();
  EXPECT_EQ(late.status, 408);
  EXPECT_EQ(Member(late, "type"), "timeout_error");
}

TEST_F(FrontDoorTest, ReadyIsWhoseRouterIs) {
  Start(real_clock_);
  EXPECT_EQ(Fetch(port(), RawGet("/startupz")).status, 200);
  router_.SayNotReady({"no shard holds expert 3"});
  AwaitReadiness(503);
  EXPECT_THAT(Fetch(port(), RawGet("/readyz")).body, HasSubstr("no shard holds expert 3"));
  EXPECT_EQ(Fetch(port(), RawGet("/health")).status, 503);
  const RawReply models = Fetch(port(), RawGet("/v1/models"));
  EXPECT_EQ(models.status, 503);
  EXPECT_EQ(Member(models, "code"), "engine_unavailable");
  EXPECT_NE(models.Header("retry-after"), "");
  EXPECT_EQ(Fetch(port(), RawGet("/livez")).status, 200);
  EXPECT_EQ(Fetch(port(), RawGet("/startupz")).status, 200);
  EXPECT_EQ(Fetch(port(), Chat()).status, 200);  // sent all the same: the router lets it wait
  router_.SayNotReady({});
  AwaitReadiness(200);
  EXPECT_EQ(Fetch(port(), RawGet("/v1/models")).status, 200);
}

TEST_F(FrontDoorTest, KservesRoutes) {
  Start(real_clock_);
  const auto answer = [this](std::string_view path) {
    const RawReply reply = Fetch(port(), RawGet(path));
    return absl::StrCat(reply.status, " ", reply.body);
  };
  EXPECT_THAT(answer("/v2"), HasSubstr(R"(200 {"name":"tessera",)"));
  EXPECT_EQ(answer("/v2/health/live"), R"(200 {"live":true})");
  EXPECT_EQ(answer("/v2/health/ready"), R"(200 {"ready":true})");
  EXPECT_THAT(answer("/v2/models/tiny"), HasSubstr(R"(200 {"name":"tiny","versions":["1"],)"));
  EXPECT_EQ(answer("/v2/models/tiny/versions/1/ready"), R"(200 {"name":"tiny","ready":true})");
  EXPECT_THAT(answer("/v2/models/tiny/versions/2/ready"), HasSubstr("model_not_found"));
  EXPECT_THAT(answer("/v2/models/other/ready"), HasSubstr("model_not_found"));
  router_.SayNotReady({"experts are gone"});
  AwaitReadiness(503);
  EXPECT_EQ(answer("/v2/health/ready"), R"(503 {"ready":false})");
  EXPECT_EQ(answer("/v2/models/tiny/ready"), R"(503 {"name":"tiny","ready":false})");
  EXPECT_EQ(answer("/v2/health/live"), R"(200 {"live":true})");
}

TEST_F(FrontDoorTest, WhatDrainsSaysSo) {
  router_.HoldAt(3);
  config_.drain = absl::Seconds(20);
  Start(real_clock_);
  RawConnection running(port());
  ASSERT_TRUE(running.Send(Chat(R"(,"stream":true)")));
  ASSERT_TRUE(running.ReadUntil("A s").has_value());
  RawConnection late(port());
  RawConnection probe(port());
  ASSERT_TRUE(testing::WaitUntil([this] {
    return Fetch(port(), RawGet("/metrics")).body.find("tessera_gateway_connections_open 4") !=
           std::string::npos;
  }));
  Thread stop("stop", [this](std::stop_token) { server_->Stop(); });
  ASSERT_TRUE(testing::WaitUntil([this] { return !server_->ReadinessReasons().empty(); }));
  ASSERT_TRUE(late.Send(Chat()));
  const RawReply refused = late.ReadReply();
  EXPECT_EQ(refused.status, 503) << refused.body;
  EXPECT_EQ(Member(refused, "code"), "draining");
  EXPECT_EQ(refused.Header("connection"), "close");
  EXPECT_NE(refused.Header("retry-after"), "");
  ASSERT_TRUE(probe.Send(RawGet("/readyz")));
  const RawReply ready = probe.ReadReply();
  EXPECT_EQ(ready.status, 503);
  EXPECT_THAT(ready.body, HasSubstr("draining"));
  // Connections that are made now are answered, too.
  const RawReply fresh = Fetch(port(), Chat());
  EXPECT_EQ(fresh.status, 503) << fresh.body;
  EXPECT_EQ(Member(fresh, "code"), "draining");
  EXPECT_EQ(fresh.Header("connection"), "close");
  EXPECT_NE(fresh.Header("retry-after"), "");
  EXPECT_EQ(Fetch(port(), RawGet("/readyz")).status, 503);
  EXPECT_EQ(Fetch(port(), RawGet("/livez")).status, 200);
  router_.Release();
  EXPECT_TRUE(running.ReadUntil("data: [DONE]\n\n").has_value());
  stop.Join();
}

TEST_F(FrontDoorTest, AStreamWithoutWordsShowsThatItLives) {
  EXPECT_EQ(config_.rest.ping_interval, absl::Seconds(15));
  router_.HoldAt(1);
  Start(fake_clock_);
  RawConnection client(port());
  ASSERT_TRUE(client.Send(Chat(R"(,"stream":true)")));
  auto seen = client.ReadUntil(R"("content":"A")");
  ASSERT_TRUE(seen.has_value());
  EXPECT_THAT(*seen, HasSubstr("cache-control: no-cache"));
  EXPECT_THAT(*seen, HasSubstr("x-accel-buffering: no"));
  ASSERT_TRUE(client.ReadUntil("\n\n").has_value());
  // Words put it off.
  for (uint32_t token = 2; token < 5; ++token) {
    fake_clock_.Advance(absl::Seconds(10));
    router_.HoldAt(token);
    seen = client.ReadUntil("\n\n");
    ASSERT_TRUE(seen.has_value());
    EXPECT_THAT(*seen, Not(HasSubstr(": ping")));
  }
  fake_clock_.Advance(absl::Seconds(16));
  seen = client.ReadUntil(": ping\n\n");
  ASSERT_TRUE(seen.has_value());
  EXPECT_THAT(*seen, Not(HasSubstr("data:")));
}

TEST_F(FrontDoorTest, RoutesRefuseWhatTheyDoNotTake) {
  Start(real_clock_);
  const RawReply removal = Fetch(port(), "DELETE /v1/models/tiny HTTP/1.1\r\nHost: t\r\n\r\n");
  EXPECT_EQ(removal.status, 405);
  EXPECT_EQ(removal.Header("allow"), "get");
  const RawReply window = Fetch(port(), RawGet("/v1/experts/load?window=60"));
  EXPECT_EQ(window.status, 400);
  EXPECT_EQ(Member(window, "param"), "window");
}

}  // namespace
}  // namespace tessera::gateway
