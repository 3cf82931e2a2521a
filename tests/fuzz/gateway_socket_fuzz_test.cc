// Broken bytes at the gateway's public port: each connection gets answers that are whole, errors
// with the error object, and an end in time; what is broken is never taken for two requests. And
// broken bodies in requests that are none: TESSERA_FUZZ_FACTOR=10 makes them a hundred thousand.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/json/json.h"
#include "services/gateway/gateway_server.h"
#include "tests/services/gateway/api/bad_bodies.h"
#include "tests/support/mutator.h"
#include "tests/support/raw_http.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_gateway.h"

namespace tessera::gateway {
namespace {

using ::tessera::testing::Fetch;
using ::tessera::testing::RawConnection;
using ::tessera::testing::RawGet;
using ::tessera::testing::RawPost;
using ::tessera::testing::RawReply;

constexpr absl::Duration kTimeout = absl::Milliseconds(300);  // of headers, bodies, idleness
constexpr absl::Duration kHang = absl::Seconds(9);            // below the client's own patience

class GatewaySocketFuzzTest : public ::testing::Test {
 protected:
  void SetUp() override { StartServer(kTimeout); }
  void StartServer(absl::Duration timeout) {
    server_ = nullptr;
    testing::StubRouterOptions options = testing::Storyteller("abcde");
    options.tokens_free = UINT32_MAX;
    router_ = std::make_unique<testing::StubRouter>(options);
    GatewayConfig config = testing::TinyGateway(folder_.path(), {router_->address()});
    config.rest.model_names = {"m"};
    config.http.header_timeout = config.http.body_timeout = config.http.idle_timeout = timeout;
    config.http.linger_timeout = timeout;
    auto server = GatewayServer::Start(config, clock_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    while (Fetch(port(), RawGet("/readyz")).status != 200) {
    }
  }
  int port() const { return server_->http_port(); }

  static bool IsErrorObject(const std::string& body) {
    const auto parsed = JsonDocument::Parse(body);
    if (!parsed.ok() || !parsed->root().is_object()) return false;
    const auto error = parsed->root().Find("error");
    if (!error.has_value() || !error->is_object()) return false;
    const auto message = error->Find("message");
    return message.has_value() && message->is_string() && error->Find("type").has_value();
  }
  // Reads all that comes. Returns the statuses of the replies.
  std::vector<int> ReadAll(RawConnection& connection, const std::string& input) {
    std::vector<int> statuses;
    const absl::Duration started = clock_.Elapsed();
    for (;;) {
      const RawReply reply = connection.ReadReply();
      if (reply.status == 0) break;
      statuses.push_back(reply.status);
      EXPECT_TRUE(reply.status == 200 || reply.status == 204 ||
                  (reply.status >= 400 && reply.status <= 505 && reply.status != 500))
          << reply.status << " " << reply.body;
      if (input.find("HEAD") != std::string::npos) continue;
      EXPECT_TRUE(reply.complete) << reply.head << reply.body;
      if (reply.status >= 400 && input.find("/readyz") == std::string::npos) {
        EXPECT_TRUE(IsErrorObject(reply.body)) << reply.head << reply.body;
      }
    }
    EXPECT_LT(clock_.Elapsed() - started, kHang) << "it hangs";
    return statuses;
  }
  void ExpectWell() {
    EXPECT_EQ(Fetch(port(), RawPost("/v1/completions", R"({"prompt":"x"})")).status, 200);
    while (Fetch(port(), RawGet("/metrics"))
               .body.find("tessera_num_requests_running{model_name=\"m\"} 0\n") ==
           std::string::npos) {
    }
    EXPECT_EQ(router_->running_count(), 0u);
  }

  const testing::TempFolder folder_;
  RealClock clock_;
  std::unique_ptr<testing::StubRouter> router_;
  std::unique_ptr<GatewayServer> server_;
};

std::string Chunked(std::string_view path, std::string_view body) {
  return absl::StrCat("POST ", std::string(path),
                      " HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n",
                      absl::Hex(body.size()), "\r\n", std::string(body), "\r\n0\r\n\r\n");
}

std::vector<std::pair<ApiDialect, std::string>> GeneratingPaths() {
  return {{ApiDialect::kChat, "/v1/chat/completions"},
          {ApiDialect::kCompletion, "/v1/completions"},
          {ApiDialect::kMessages, "/v1/messages"},
          {ApiDialect::kResponses, "/v1/responses"}};
}

std::vector<std::string> Corpus() {
  std::vector<std::string> corpus = {
      RawGet("/v1/models"),
      RawGet("/v1/models/m"),
      RawGet("/metrics"),
      RawGet("/livez"),
      RawGet("/version?a=b&c=%20"),
      RawPost("/tokenize", R"({"prompt":"\u00e9 abc"})"),
      RawPost("/detokenize", R"({"tokens":[20,21,22]})"),
      RawGet("/livez") + RawGet("/livez"),
      "OPTIONS /v1/models HTTP/1.1\r\nHost: t\r\nOrigin: http://a\r\n"
      "Access-Control-Request-Method: POST\r\n\r\n"};
  for (const auto& [dialect, path] : GeneratingPaths()) {
    const std::string body(GoodBody(dialect));
    const std::string streamed = body.substr(0, body.size() - 1) + R"(,"stream":true})";
    corpus.push_back(RawPost(path, body));
    corpus.push_back(RawPost(path, streamed, "x-request-id: mine\r\nAuthorization: Bearer x\r\n"));
    corpus.push_back(Chunked(path, streamed));
    corpus.push_back(RawPost(path, body) + RawGet("/livez"));
  }
  return corpus;
}

std::vector<std::string> Dictionary() {
  return {"\r\n",
          "\n",
          "\r",
          std::string(1, '\0'),
          "\xff\xfe",
          "\r\n\r\n",
          ": ",
          "Content-Length: 5\r\n",
          "Content-Length: -1\r\n",
          "Content-Length: 18446744073709551616\r\n",
          "Content-Length: 0x10\r\n",
          "Transfer-Encoding: chunked\r\n",
          "Transfer-Encoding: identity\r\n",
          "Transfer-Encoding : chunked\r\n",
          "Connection: close\r\n",
          "Content-Encoding: gzip\r\n",
          "Upgrade: h2c\r\n",
          "FFFFFFFFFFFFFFFFF\r\n",
          "0\r\n\r\n",
          "HTTP/1.0",
          "HTTP/2.0",
          "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
          "http://other/",
          "/../../etc/passwd",
          "%00%ff",
          std::string(40'000, 'a'),
          std::string(300, '['),
          "1e999",
          "99999999999999999999",
          "\\ud800",
          "\"n\":128,",
          "\"max_tokens\":1,",
          "\"stream\":true,"};
}

TEST_F(GatewaySocketFuzzTest, BrokenRequests) {
  constexpr uint64_t kSeed = 37;
  constexpr uint64_t kAtOnce = 100;  // many wait for their timeouts
  const testing::Mutator mutator(kSeed, Corpus(), Dictionary());
  const uint64_t rounds = testing::FuzzRounds(1500);
  uint64_t good = 0;
  uint64_t refused = 0;
  uint64_t silent = 0;
  for (uint64_t begin = 0; begin < rounds; begin += kAtOnce) {
    std::vector<std::unique_ptr<RawConnection>> connections;
    for (uint64_t n = begin; n < begin + kAtOnce; ++n) {
      connections.push_back(std::make_unique<RawConnection>(port()));
      connections.back()->Send(mutator.At(n));
    }
    for (uint64_t n = begin; n < begin + kAtOnce; ++n) {
      const std::vector<int> statuses = ReadAll(*connections[n - begin], mutator.At(n));
      if (statuses.empty()) ++silent;
      for (const int status : statuses) ++(status < 300 ? good : refused);
      ASSERT_FALSE(HasFailure()) << "seed " << kSeed << ", input " << n;
    }
  }
  std::printf("%llu good replies, %llu refusals, %llu connections without a reply\n",
              static_cast<unsigned long long>(good), static_cast<unsigned long long>(refused),
              static_cast<unsigned long long>(silent));
  EXPECT_GT(good, rounds / 20);
  EXPECT_GT(refused, rounds / 10);
  EXPECT_LT(silent, rounds / 50);
  ExpectWell();
}

TEST_F(GatewaySocketFuzzTest, BadBodiesAreRefused) {
  StartServer(kHang);
  const std::string nested(100'000, '[');
  size_t count = 0;
  for (const auto& [dialect, path] : GeneratingPaths()) {
    std::vector<std::string> bodies = {nested, "{\"messages\":" + nested, nested + "1"};
    for (const BadBody& bad : BadBodiesOf(dialect)) bodies.push_back(BodyOf(dialect, bad));
    RawConnection connection(port());
    for (const std::string& body : bodies) {
      connection.Send(RawPost(path, body));
      const RawReply reply = connection.ReadReply();
      EXPECT_EQ(reply.status, 400) << path << " " << body.substr(0, 500);
      EXPECT_TRUE(IsErrorObject(reply.body)) << reply.body;
      ++count;
    }
  }
  EXPECT_GE(count, 200u);
  ExpectWell();
}

TEST_F(GatewaySocketFuzzTest, BrokenBodies) {
  constexpr uint64_t kSeed = 41;
  constexpr uint64_t kAtOnce = 8;
  StartServer(kHang);
  const uint64_t rounds = testing::FuzzRounds(10'000) / GeneratingPaths().size();
  uint64_t good = 0;
  for (const auto& [dialect, path] : GeneratingPaths()) {
    std::vector<std::string> corpus = {std::string(GoodBody(dialect))};
    for (const BadBody& bad : BadBodiesOf(dialect)) corpus.push_back(BodyOf(dialect, bad));
    const testing::Mutator mutator(kSeed, std::move(corpus), Dictionary());
    std::vector<std::unique_ptr<RawConnection>> connections;
    for (uint64_t i = 0; i < kAtOnce; ++i) {
      connections.push_back(std::make_unique<RawConnection>(port()));
    }
    for (uint64_t n = 0; n < rounds; ++n) {
      RawConnection& connection = *connections[n % kAtOnce];
      // Each connection has its request answered while the others' are.
      if (n >= kAtOnce) {
        const RawReply reply = connection.ReadReply();
        ASSERT_TRUE(reply.complete) << path << ", seed " << kSeed << ", input " << n - kAtOnce;
        if (reply.status == 200) {
          ++good;
        } else {
          ASSERT_TRUE(reply.status >= 400 && reply.status < 500 && IsErrorObject(reply.body))
              << path << ", seed " << kSeed << ", input " << n - kAtOnce << ": " << reply.status
              << " " << reply.body;
        }
      }
      connection.Send(RawPost(path, mutator.At(n)));
    }
  }
  EXPECT_GT(good, rounds / 50);
  ExpectWell();
}

TEST_F(GatewaySocketFuzzTest, WhatIsAmbiguousIsRefusedAndEndsTheConnection) {
  const std::string hidden = RawGet("/livez");
  const std::string start = "POST /tokenize HTTP/1.1\r\nHost: t\r\n";
  const std::string length = absl::StrCat("Content-Length: ", hidden.size(), "\r\n");
  for (const std::string& request : std::vector<std::string>{
           start + length + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
           start + "Transfer-Encoding: chunked\r\n" + length + "\r\n0\r\n\r\n" + hidden,
           start + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
           start + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + hidden,
           start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + hidden,
           start + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden,
           start + "Transfer-Encoding:\x0b" + "chunked\r\n\r\n0\r\n\r\n" + hidden,
           start + "Content-Length: 0\r\n" + length + "\r\n" + hidden,
           start + "Content-Length: +5\r\n\r\n" + hidden,
           start + "Content-Length: 0x5\r\n\r\n" + hidden,
           start + "Content-Length: 5 5\r\n\r\n" + hidden,
           start + "Content-Length: 5,5\r\n\r\n" + hidden,
           start + "Content-Length: 18446744073709551621\r\n\r\n" + hidden,
           start + "Content-Length : 0\r\n\r\n" + hidden,
           start + "Transfer-Encoding: chunked\r\n\r\n-1\r\n" + hidden,
           start + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n" + hidden,
           start + "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n" + hidden,
           start + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n" + hidden,
           start + "no colon\r\n\r\n" + hidden,
           start + "x: a" + std::string(1, '\0') + "b\r\n\r\n" + hidden,
           start + "x: a\rb\r\n\r\n" + hidden,
           "POST /tokenize HTTP/1.1 \r\n\r\n" + hidden,
           "POST  /tokenize HTTP/1.1\r\n\r\n" + hidden,
           "POST /tok enize HTTP/1.1\r\n\r\n" + hidden,
           "POST /tokenize HTTP/3.0\r\n\r\n" + hidden,
           std::string("\0\r\n", 3) + hidden,
       }) {
    RawConnection connection(port());
    connection.Send(request);
    const std::vector<int> statuses = ReadAll(connection, request);
    EXPECT_EQ(statuses.size(), 1u) << request;
    if (statuses.empty()) continue;
    EXPECT_GE(statuses[0], 400) << request;
  }
  ExpectWell();
}

TEST_F(GatewaySocketFuzzTest, SlowSendersAreEndedAndHoldNobodyUp) {
  const std::string post = RawPost("/v1/completions", R"({"prompt":"x"})");
  const size_t head = post.find("\r\n\r\n") + 4;
  std::vector<std::unique_ptr<RawConnection>> slow;
  std::vector<size_t> sent;
  for (size_t i = 0; i < 200; ++i) {
    slow.push_back(std::make_unique<RawConnection>(port()));
    sent.push_back(i % 2 == 0 ? 1 : head);  // half of them in the headers, half in the body
    slow.back()->Send(post.substr(0, sent.back()));
  }
  for (size_t open = slow.size(); open > 0;) {
    EXPECT_EQ(Fetch(port(), post).status, 200);
    open = 0;
    for (size_t i = 0; i < slow.size(); ++i) {
      if (slow[i]->IsReadable(0)) continue;
      ++open;
      // A byte each round, but never the last one.
      if (sent[i] + 1 < post.size()) slow[i]->Send(post.substr(sent[i]++, 1));
    }
  }
  for (const auto& connection : slow) EXPECT_EQ(ReadAll(*connection, ""), std::vector<int>{408});
  ExpectWell();
}

}  // namespace
}  // namespace tessera::gateway
