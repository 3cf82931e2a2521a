#include "services/gateway/http/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/concurrency/bounded_queue.h"
#include "common/concurrency/thread.h"
#include "services/gateway/http/sse_writer.h"
#include "tests/support/fake_clock.h"
#include "tests/support/raw_http.h"

namespace tessera::gateway {
namespace {

using ::tessera::testing::Fetch;
using ::tessera::testing::RawConnection;
using ::tessera::testing::RawGet;
using ::tessera::testing::RawPost;
using ::tessera::testing::RawReply;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::string SseEvent(std::string_view data) {
  return absl::StrCat("data: ", std::string(data), "\n\n");
}

struct Exchange {
  HttpRequest request;
  std::shared_ptr<HttpReply> reply;
};

// Answers /echo with what it got and hands everything else to the test.
class HttpServerTest : public ::testing::Test {
 protected:
  void Start(HttpServerConfig config = {}) {
    auto server = HttpServer::Start(
        config,
        [this](HttpRequest request, std::shared_ptr<HttpReply> reply) {
          if (request.path == "/echo") {
            reply->Send(
                {.status = 200,
                 .headers = {},
                 .body = absl::StrCat(request.method, "|", request.query, "|", request.body)});
          } else if (request.path != "/drop") {
            exchanges_.TryPush({std::move(request), std::move(reply)});
          }
        },
        [](const HttpFault& fault) {
          HttpResponse response{.status = fault.status, .headers = {{"retry-after", "7"}}};
          response.body = absl::StrCat("error ", fault.status, " ", std::string(fault.message), " ",
                                       std::string(fault.path), " ", std::string(fault.request_id));
          return response;
        },
        clock_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  int port() const { return server_->port(); }
  Exchange NextExchange() {
    std::optional<Exchange> exchange = exchanges_.PopFor(absl::Seconds(10));
    EXPECT_TRUE(exchange.has_value());
    return exchange.has_value() ? *std::move(exchange) : Exchange();
  }

  FakeClock clock_;
  BoundedQueue<Exchange> exchanges_{1024};
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersAndKeepsTheConnection) {
  Start();
  RawConnection connection(port());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(connection.Send(RawPost("/echo?a=b", "hello")));
    const RawReply reply = connection.ReadReply();
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "POST|a=b|hello");
    EXPECT_THAT(reply.Header("x-request-id"), HasSubstr("req-"));
    EXPECT_EQ(reply.Header("connection"), "");
  }
  EXPECT_EQ(server_->stats().connections_total, 1u);
  EXPECT_EQ(server_->stats().requests_total, 3u);
}

TEST_F(HttpServerTest, ServesPipelinedRequestsInOrder) {
  Start();
  RawConnection connection(port());
  std::string requests;
  for (int i = 0; i < 50; ++i) requests += RawPost("/echo", absl::StrCat(i));
  ASSERT_TRUE(connection.Send(requests));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(connection.ReadReply().body, absl::StrCat("POST||", i));
}

TEST_F(HttpServerTest, APipelinedRequestWaitsForTheReplyBefore) {
  Start();
  RawConnection connection(port());
  ASSERT_TRUE(connection.Send(RawGet("/slow") + RawGet("/echo")));
  const Exchange slow = NextExchange();
  slow.reply->Begin(SseHead());
  slow.reply->Write(SseEvent("1"));
  slow.reply->End();
  EXPECT_EQ(connection.ReadReply().body, "data: 1\n\n");
  EXPECT_EQ(connection.ReadReply().body, "GET||");
}

TEST_F(HttpServerTest, EchoesTheRequestId) {
  Start();
  EXPECT_EQ(Fetch(port(), RawGet("/echo", "X-Request-Id: mine-1\r\n")).Header("x-request-id"),
            "mine-1");
  EXPECT_THAT(Fetch(port(), RawGet("/echo", "X-Request-Id: not mine\r\n")).Header("x-request-id"),
              HasSubstr("req-"));
}

TEST_F(HttpServerTest, EachPieceLeavesAtOnce) {
  Start();
  RawConnection connection(port());
  ASSERT_TRUE(connection.Send(RawGet("/stream")));
  const Exchange exchange = NextExchange();
  exchange.reply->Begin(SseHead());
  const std::optional<std::string> head = connection.ReadUntil("\r\n\r\n");
  ASSERT_TRUE(head.has_value());
  EXPECT_THAT(*head, HasSubstr("content-type: text/event-stream"));
  EXPECT_THAT(*head, HasSubstr("cache-control: no-cache\r\n"));
  EXPECT_THAT(*head, HasSubstr("x-accel-buffering: no\r\n"));
  EXPECT_THAT(*head, HasSubstr("transfer-encoding: chunked"));
  for (int i = 0; i < 3; ++i) {
    exchange.reply->Write(SseEvent(absl::StrCat(i)));
    EXPECT_TRUE(connection.ReadUntil(absl::StrCat("data: ", i, "\n\n")).has_value());
  }
  exchange.reply->End();
  EXPECT_TRUE(connection.ReadUntil("0\r\n\r\n").has_value());
}

TEST_F(HttpServerTest, NoticesAClientThatLeavesWhileNothingIsWritten) {
  Start();
  RawConnection connection(port());
  ASSERT_TRUE(connection.Send(RawGet("/stream")));
  const Exchange exchange = NextExchange();
  absl::Notification gone;
  exchange.reply->OnGone([&gone] { gone.Notify(); });
  connection.Close();
  EXPECT_TRUE(gone.WaitForNotificationWithTimeout(absl::Seconds(10)));
  EXPECT_TRUE(exchange.reply->is_gone());
  exchange.reply->Write("to nobody");
  exchange.reply->End();
}

TEST_F(HttpServerTest, ForgottenRepliesAreErrors) {
  Start();
  EXPECT_EQ(Fetch(port(), RawGet("/drop")).status, 500);
  RawConnection connection(port());
  ASSERT_TRUE(connection.Send(RawGet("/stream")));
  {
    const Exchange exchange = NextExchange();
    exchange.reply->Begin(SseHead());
    exchange.reply->Write("x");
  }
  const RawReply reply = connection.ReadReply();
  EXPECT_FALSE(reply.complete) << reply.head << reply.body;
}

TEST_F(HttpServerTest, ASlowReaderIsCutOffAndOthersAreNotSlowed) {
  HttpServerConfig config;
  config.output_bytes_max = 1 << 20;
  Start(config);
  RawConnection slow(port());
  slow.ShrinkBuffer();
  ASSERT_TRUE(slow.Send(RawGet("/stream")));
  const Exchange exchange = NextExchange();
  absl::Notification gone;
  exchange.reply->OnGone([&gone] { gone.Notify(); });
  exchange.reply->Begin(SseHead());
  const std::string piece(64 << 10, 'x');
  while (!exchange.reply->is_gone()) {
    exchange.reply->Write(piece);
    EXPECT_EQ(Fetch(port(), RawGet("/echo")).status, 200);
  }
  gone.WaitForNotification();
  EXPECT_EQ(server_->stats().slow_readers_total, 1u);
}

TEST_F(HttpServerTest, AStalledWriteEndsWithItsTimeout) {
  Start();
  RawConnection slow(port());
  slow.ShrinkBuffer();
  ASSERT_TRUE(slow.Send(RawGet("/stream")));
  const Exchange exchange = NextExchange();
  absl::Notification gone;
  exchange.reply->OnGone([&gone] { gone.Notify(); });
  exchange.reply->Begin(SseHead());
  exchange.reply->Write(std::string(7 << 20, 'x'));
  // The write begins on the I/O thread; the clock moves until its deadline is behind.
  while (!gone.WaitForNotificationWithTimeout(absl::Milliseconds(20))) {
    clock_.Advance(absl::Seconds(61));
  }
}

TEST_F(HttpServerTest, LimitsOfSize) {
  HttpServerConfig config;
  config.header_bytes_max = 4096;
  config.body_bytes_max = 1000;
  Start(config);
  const RawReply header =
      Fetch(port(), RawGet("/echo", absl::StrCat("A: ", std::string(5000, 'x'), "\r\n")));
  EXPECT_EQ(header.status, 431);
  EXPECT_EQ(header.Header("connection"), "close");
  EXPECT_THAT(header.body, HasSubstr("error 431"));
  EXPECT_EQ(Fetch(port(), RawPost("/echo", std::string(1001, 'x'))).status, 413);
  EXPECT_EQ(Fetch(port(), RawPost("/echo", std::string(1000, 'x'))).status, 200);
  const std::string chunked =
      absl::StrCat("POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n",
                   std::string(2000, 'x'), "\r\n0\r\n\r\n");
  EXPECT_EQ(Fetch(port(), chunked).status, 413);
  EXPECT_THAT(server_->stats().replies_total,
              ElementsAre(Pair(200, 1), Pair(413, 2), Pair(431, 1)));
}

TEST_F(HttpServerTest, BodiesOfAllConnectionsTogetherAreBounded) {
  HttpServerConfig config;
  config.body_bytes_total_max = 3000;
  Start(config);
  RawConnection first(port());
  ASSERT_TRUE(first.Send(RawPost("/hold", std::string(2000, 'x'))));
  Exchange held = NextExchange();
  EXPECT_EQ(Fetch(port(), RawPost("/echo", std::string(2000, 'x'))).status, 503);
  held.reply->Send({});
  EXPECT_EQ(first.ReadReply().status, 200);
  EXPECT_EQ(Fetch(port(), RawPost("/echo", std::string(2000, 'x'))).status, 200);
}

TEST_F(HttpServerTest, ErrorsOfThisLayerSayWhatTheyKnowOfTheRequest) {
  HttpServerConfig config;
  config.body_bytes_max = 1000;
  config.cors.origins = {"https://a.example"};
  Start(config);
  const std::string headers = "Origin: https://a.example\r\nX-Request-Id: mine\r\n";
  const RawReply large = Fetch(port(), RawPost("/echo?x=y", std::string(1001, 'x'), headers));
  EXPECT_EQ(large.status, 413);
  EXPECT_THAT(large.body, HasSubstr(" bytes /echo mine"));
  EXPECT_EQ(large.Header("x-request-id"), "mine");
  EXPECT_EQ(large.Header("access-control-allow-origin"), "https://a.example");
  EXPECT_EQ(large.Header("retry-after"), "7");
  const RawReply dropped = Fetch(port(), RawGet("/drop", headers));
  EXPECT_EQ(dropped.status, 500);
  EXPECT_THAT(dropped.body, HasSubstr(" /drop mine"));
  const RawReply none = Fetch(port(), "no request\r\n\r\n");
  EXPECT_EQ(none.status, 400);
  EXPECT_THAT(none.body, HasSubstr("  req-"));
  RawConnection slow(port());
  ASSERT_TRUE(
      slow.Send("POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nX-Request-Id: late\r\n"
                "Content-Length: 10\r\n\r\n"));
  ASSERT_TRUE(slow.ReadUntil("HTTP/1.1 100 Continue\r\n\r\n").has_value());
  while (!slow.IsReadable(20)) clock_.Advance(absl::Seconds(5));
  const RawReply late = slow.ReadReply();
  EXPECT_EQ(late.status, 408);
  EXPECT_EQ(late.Header("x-request-id"), "late");
}

TEST_F(HttpServerTest, NamesMadeHereDifferBetweenServers) {
  std::set<std::string> names;
  for (int i = 0; i < 3; ++i) {
    Start();
    names.insert(Fetch(port(), RawGet("/echo")).Header("x-request-id"));
    names.insert(Fetch(port(), "no request\r\n\r\n").Header("x-request-id"));
  }
  EXPECT_EQ(names.size(), 6u);
}

TEST_F(HttpServerTest, AReplyMayBearAnotherName) {
  Start();
  RawConnection connection(port());
  ASSERT_TRUE(connection.Send(RawGet("/stream")));
  NextExchange().reply->Send({.headers = {{"x-request-id", "other"}}, .body = "x"});
  const RawReply reply = connection.ReadReply();
  EXPECT_EQ(reply.Header("x-request-id"), "other");
  EXPECT_EQ(reply.head.find("req-"), std::string::npos);
}

TEST_F(HttpServerTest, SmuggledAndBrokenRequestsAreRefused) {
  Start();
  for (const char* request : {
           "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nTransfer-Encoding: "
           "chunked\r\n\r\n0\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
           "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3,3\r\n\r\nabc",
           "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\nabc",
           "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999999999999\r\n\r\n",
           "GET /echo HTTP/9.9\r\n\r\n",
           "GET /echo\r\n\r\n",
           "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
           "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
       }) {
    const RawReply reply = Fetch(port(), request);
    EXPECT_TRUE(reply.status == 400 || reply.status == 413) << request << "\n" << reply.status;
    EXPECT_EQ(reply.Header("connection"), "close") << request;
  }
}

TEST_F(HttpServerTest, SlowRequestsTimeOut) {
  Start();
  RawConnection header(port());
  ASSERT_TRUE(header.Send("POST /echo HTTP/1.1\r\nHost:"));
  RawConnection body(port());
  ASSERT_TRUE(
      body.Send("POST /hold HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"));
  ASSERT_TRUE(body.ReadUntil("HTTP/1.1 100 Continue\r\n\r\n").has_value());
  ASSERT_TRUE(body.Send("abc"));
  RawConnection idle(port());
  ASSERT_TRUE(idle.Send(RawGet("/echo")));
  EXPECT_EQ(idle.ReadReply().status, 200);
  // What was sent may be read only now: the clock moves until the answer is there.
  while (!header.IsReadable(20)) clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(header.ReadReply().status, 408);
  while (!body.IsReadable(20)) clock_.Advance(absl::Seconds(5));
  EXPECT_EQ(body.ReadReply().status, 408);
  while (!idle.IsReadable(20)) clock_.Advance(absl::Seconds(10));
  EXPECT_TRUE(idle.ReadsEnd());
}

TEST_F(HttpServerTest, RefusesConnectionsOverTheLimit) {
  HttpServerConfig config;
  config.connections_max = 2;
  Start(config);
  RawConnection first(port());
  RawConnection second(port());
  ASSERT_TRUE(first.Send(RawGet("/echo")));
  EXPECT_EQ(first.ReadReply().status, 200);
  ASSERT_TRUE(second.Send(RawGet("/echo")));
  EXPECT_EQ(second.ReadReply().status, 200);
  RawConnection third(port());
  EXPECT_EQ(third.ReadReply().status, 503);
  EXPECT_EQ(server_->stats().connections_refused_total, 1u);
}

TEST_F(HttpServerTest, Cors) {
  HttpServerConfig config;
  config.cors.origins = {"https://a.example"};
  Start(config);
  const RawReply preflight = Fetch(
      port(),
      "OPTIONS /echo HTTP/1.1\r\nHost: t\r\nOrigin: https://a.example\r\n"
      "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-mine\r\n\r\n");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.Header("access-control-allow-origin"), "https://a.example");
  EXPECT_EQ(preflight.Header("access-control-allow-headers"), "x-mine");
  for (const char* name : {"x-request-id", "request-id", "retry-after", "retry-after-ms",
                           "server-timing", "x-ratelimit-remaining-tokens"}) {
    EXPECT_THAT(absl::StrCat(preflight.Header("access-control-expose-headers"), ","),
                HasSubstr(absl::StrCat(name, ",")));
  }
  EXPECT_EQ(Fetch(port(), RawGet("/echo", "Origin: https://a.example\r\n"))
                .Header("access-control-allow-origin"),
            "https://a.example");
  EXPECT_EQ(Fetch(port(), RawGet("/echo", "Origin: https://b.example\r\n"))
                .Header("access-control-allow-origin"),
            "");
}

TEST_F(HttpServerTest, OldClientsAndHeads) {
  Start();
  const RawReply old = Fetch(port(), "GET /echo HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.body, "GET||");
  EXPECT_EQ(old.Header("connection"), "close");
  RawConnection connection(port());
  ASSERT_TRUE(connection.Send("HEAD /echo HTTP/1.1\r\nHost: t\r\n\r\n"));
  EXPECT_THAT(*connection.ReadUntil("\r\n\r\n"), HasSubstr("content-length: 6"));
  ASSERT_TRUE(connection.Send("\r\n" + RawGet("http://t/echo?x")));
  EXPECT_EQ(connection.ReadReply().body, "GET|x|");
}

TEST_F(HttpServerTest, DrainEndsConnectionsAfterTheirReply) {
  Start();
  RawConnection idle(port());
  ASSERT_TRUE(idle.Send(RawGet("/echo")));
  EXPECT_EQ(idle.ReadReply().status, 200);
  RawConnection busy(port());
  ASSERT_TRUE(busy.Send(RawGet("/stream")));
  const Exchange exchange = NextExchange();
  server_->Drain();
  EXPECT_TRUE(idle.ReadsEnd());
  exchange.reply->Send({.status = 200, .headers = {}, .body = "done"});
  const RawReply reply = busy.ReadReply();
  EXPECT_EQ(reply.body, "done");
  EXPECT_EQ(reply.Header("connection"), "close");
  EXPECT_EQ(Fetch(port(), RawGet("/echo")).status, 200);
}

TEST_F(HttpServerTest, ADrainWaitsForWhatWasUnderWayAndAnswersOthersMeanwhile) {
  Start();
  RawConnection old(port());
  ASSERT_TRUE(old.Send(RawGet("/stream")));
  const Exchange first = NextExchange();
  server_->Drain();
  Thread waiting("await", [this](std::stop_token) { server_->AwaitReplies(absl::Seconds(20)); });
  EXPECT_EQ(Fetch(port(), RawGet("/echo")).Header("connection"), "close");
  RawConnection fresh(port());
  ASSERT_TRUE(fresh.Send(RawGet("/stream")));
  const Exchange second = NextExchange();
  first.reply->Send({.status = 200, .headers = {}, .body = "done"});
  waiting.Join();  // though the second has no answer yet
  EXPECT_EQ(old.ReadReply().body, "done");
  EXPECT_EQ(Fetch(port(), RawGet("/echo")).status, 200);
  second.reply->Send({.status = 200, .headers = {}, .body = "done, too"});
  EXPECT_EQ(fresh.ReadReply().body, "done, too");
}

TEST_F(HttpServerTest, ADrainWaitsNoLongerThanItMay) {
  Start();
  server_->AwaitReplies(absl::Seconds(20));  // for nothing
  RawConnection busy(port());
  ASSERT_TRUE(busy.Send(RawGet("/stream")));
  const Exchange exchange = NextExchange();
  server_->Drain();
  std::atomic<bool> is_over{false};
  Thread waiting("await", [&](std::stop_token) {
    server_->AwaitReplies(absl::Seconds(20));
    is_over = true;
  });
  while (!is_over) clock_.Advance(absl::Seconds(7));
  EXPECT_FALSE(exchange.reply->is_gone());
}

TEST_F(HttpServerTest, StopCutsWhatIsLeft) {
  Start();
  RawConnection busy(port());
  ASSERT_TRUE(busy.Send(RawGet("/stream")));
  const Exchange exchange = NextExchange();
  server_->Stop();
  EXPECT_TRUE(busy.ReadsEnd());
  EXPECT_TRUE(exchange.reply->is_gone());
  exchange.reply->Send({});
}

TEST_F(HttpServerTest, RepliesComeFromAnyThreadToManyConnections) {
  HttpServerConfig config;
  config.thread_count = 2;
  Start(config);
  std::vector<std::unique_ptr<RawConnection>> connections;
  for (int i = 0; i < 200; ++i) {
    connections.push_back(std::make_unique<RawConnection>(port()));
    ASSERT_TRUE(connections.back()->Send(RawGet("/stream")));
  }
  std::vector<Exchange> exchanges;
  for (int i = 0; i < 200; ++i) exchanges.push_back(NextExchange());
  for (const Exchange& exchange : exchanges) exchange.reply->Begin(SseHead());
  for (int token = 0; token < 20; ++token) {
    for (const Exchange& exchange : exchanges) exchange.reply->Write(SseEvent("t"));
  }
  for (const Exchange& exchange : exchanges) exchange.reply->End();
  for (const auto& connection : connections) {
    const RawReply reply = connection->ReadReply();
    EXPECT_TRUE(reply.complete);
    EXPECT_EQ(reply.body.size(), 20 * SseEvent("t").size());
  }
}

TEST(HttpServerStart, RefusesWhatCannotBe) {
  const FakeClock clock;
  const auto start = [&clock](const HttpServerConfig& config) {
    return HttpServer::Start(
               config, [](HttpRequest, std::shared_ptr<HttpReply>) {},
               [](const HttpFault&) { return HttpResponse(); }, clock)
        .status()
        .code();
  };
  HttpServerConfig config;
  config.listen = "nowhere";
  EXPECT_EQ(start(config), absl::StatusCode::kInvalidArgument);
  config.listen = "192.0.2.1:0";  // TEST-NET-1: of no box
  EXPECT_EQ(start(config), absl::StatusCode::kUnavailable);
  config.listen = "127.0.0.1:0";
  config.certificate_file = "/nowhere/cert.pem";
  EXPECT_EQ(start(config), absl::StatusCode::kInvalidArgument);
  config.key_file = "/nowhere/key.pem";
  EXPECT_EQ(start(config), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace tessera::gateway
