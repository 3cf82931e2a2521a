#include "common/http/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "tests/support/raw_client.h"

namespace tessera {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::HttpGet;
using ::testing::Not;
using testing::RawClient;
using ::testing::StartsWith;

class HttpServerTest : public ::testing::Test {
 protected:
  void Start(HttpServerConfig config) {
    auto server = HttpServer::Start(
        config,
        {{"GET", "/hello", [](const HttpRequest& r) { return HttpReply{.body = "hi " + r.query}; }},
         {"POST", "/echo", [](const HttpRequest& r) { return HttpReply::Json(201, r.body); }}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  int port() const { return server_->port(); }
  // The reply to bytes that end the connection.
  std::string Exchange(std::string_view bytes) {
    RawClient client(port());
    client.Send(bytes);
    return client.ReadAll();
  }

  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, Answers) {
  Start({});
  EXPECT_EQ(server_->address(), absl::StrCat("127.0.0.1:", port()));
  EXPECT_THAT(HttpGet(port(), "/hello?a=b?c"),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), EndsWith("\r\n\r\nhi a=b?c"),
                    HasSubstr("Content-Length: 8\r\n")));
  EXPECT_THAT(HttpGet(port(), "/none"), AllOf(StartsWith("HTTP/1.1 404"), HasSubstr("/hello")));
  EXPECT_THAT(HttpGet(port(), "/echo"), StartsWith("HTTP/1.1 405"));
}

TEST_F(HttpServerTest, KeepsTheConnectionForMoreRequests) {
  Start({});
  RawClient client(port());
  for (int i = 0; i < 3; ++i) {
    client.Send(absl::StrCat("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", i));
    EXPECT_THAT(client.ReadReply(), AllOf(StartsWith("HTTP/1.1 201"), EndsWith(absl::StrCat(i))));
  }
  client.Send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.0\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("\r\n\r\n"), HasSubstr("Content-Length: 3"));
  EXPECT_THAT(client.ReadAll(), AllOf(StartsWith("HTTP/1.1 200"), EndsWith("hi ")));
}

TEST_F(HttpServerTest, ABodyMayComeInChunks) {
  Start({});
  EXPECT_THAT(Exchange("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
              EndsWith("\r\n\r\nabc"));
}

TEST_F(HttpServerTest, WhatIsNoHttpIsRefused) {
  Start({.header_bytes_max = 1024, .body_bytes_max = 10});
  EXPECT_THAT(Exchange("\x16\x03\x01 hello\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(Exchange("GET /hello HTTP/7.7\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(Exchange("POST /echo HTTP/1.1\r\nContent-Length: x\r\n\r\n"),
              StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(Exchange("POST /echo HTTP/1.1\r\nContent-Length: 11\r\n\r\n01234567890"),
              StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(Exchange("POST /echo HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n"),
              StartsWith("HTTP/1.1 4"));
  EXPECT_THAT(
      Exchange(absl::StrCat("GET /hello HTTP/1.1\r\nA: ", std::string(2000, 'a'), "\r\n\r\n")),
      StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(HttpGet(port(), "/hello"), StartsWith("HTTP/1.1 200")) << "and it lives";
}

TEST_F(HttpServerTest, BrokenBytesNeverStopIt) {
  Start({.timeout = absl::Milliseconds(20)});
  const std::string good = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
  Random random(7);
  for (int round = 0; round < 300; ++round) {
    std::string bytes = good;
    for (int change = 0; change < 3; ++change) {
      bytes[random.Below(bytes.size())] = static_cast<char>(random.Below(256));
    }
    bytes.resize(bytes.size() - random.Below(4));
    RawClient client(port());
    client.Send(bytes);
    if (round % 4 == 0) {
      const std::string reply = client.ReadAll();
      EXPECT_TRUE(reply.empty() || absl::StartsWith(reply, "HTTP/1.1 ")) << round << ": " << bytes;
    }
  }
  EXPECT_THAT(HttpGet(port(), "/hello"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, ASilentClientIsClosedAndMakesRoom) {
  Start({.connections_max = 2, .timeout = absl::Milliseconds(30)});
  RawClient silent(port());
  RawClient slow(port());
  slow.Send("GET /hel");
  EXPECT_THAT(HttpGet(port(), "/hello"), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(silent.ReadAll(), "");
  EXPECT_THAT(slow.ReadAll(), Not(HasSubstr("200")));
}

TEST_F(HttpServerTest, AddressesThatCannotBeHadAreNamed) {
  Start({});
  const auto second = HttpServer::Start({.listen = server_->address()}, {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(server_->address()));
  for (const char* listen : {"8012", "127.0.0.1:", "::1:80", "[::1]", "no.such.host.invalid:1"}) {
    const auto server = HttpServer::Start({.listen = listen}, {});
    EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument) << listen;
    EXPECT_THAT(std::string(server.status().message()), HasSubstr(listen));
  }
}

TEST_F(HttpServerTest, StopsWithConnectionsOpen) {
  Start({});
  RawClient client(port());
  client.Send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(client.ReadReply(), HasSubstr("200"));
  server_->Stop();
  server_->Stop();
  server_.reset();
  EXPECT_EQ(client.ReadAll(), "");
}

}  // namespace
}  // namespace tessera
