#include "common/http/http_client.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/concurrency/thread.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

// Takes one connection, reads a request's head, says `reply` and hangs up (or waits for the client
// to do it).
class ScriptedServer {
 public:
  explicit ScriptedServer(std::string reply, bool hangs_up = true)
      : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 1), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = Thread("scripted", [this, reply = std::move(reply), hangs_up](std::stop_token) {
      const int peer = accept(listener_, nullptr, nullptr);
      char byte = 0;
      while (peer >= 0 && request_.find("\r\n\r\n") == std::string::npos &&
             recv(peer, &byte, 1, 0) == 1) {
        request_.push_back(byte);
      }
      send(peer, reply.data(), reply.size(), MSG_NOSIGNAL);
      while (!hangs_up && recv(peer, &byte, 1, 0) == 1) {
      }
      close(peer);
    });
  }
  ~ScriptedServer() {
    thread_.Join();
    close(listener_);
  }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }
  std::string request() {
    thread_.Join();
    return request_;
  }

 private:
  const int listener_;
  int port_ = 0;
  std::string request_;
  Thread thread_;
};

absl::StatusOr<HttpAnswer> Fetch(const std::string& address, HttpClientConfig config = {}) {
  const absl::StatusOr<HttpClient> client = HttpClient::For(address, std::move(config));
  if (!client.ok()) return client.status();
  return client->Fetch("/x");
}

TEST(HttpClientTest, ReadsBodiesOfEveryFraming) {
  {
    ScriptedServer server("HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\n\r\nhello trailing");
    EXPECT_EQ(Fetch(server.address())->body, "hello");
  }
  {
    ScriptedServer server("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nto the end");
    EXPECT_EQ(Fetch(server.address())->body, "to the end");
  }
  ScriptedServer server(
      "HTTP/1.1 404 Not Found\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
      /*hangs_up=*/false);
  const auto answer = Fetch("http://" + server.address() + "/", {.bearer = "secret"});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 404);
  EXPECT_EQ(answer->content_type, "a/b");
  EXPECT_EQ(answer->body, "abc0123456789");
  EXPECT_THAT(server.request(), HasSubstr("GET /x HTTP/1.1\r\n"));
  EXPECT_THAT(server.request(), HasSubstr("Authorization: Bearer secret\r\n"));
}

TEST(HttpClientTest, WhatIsNoReplyIsSaidSo) {
  const auto code = [](std::string reply) {
    ScriptedServer server(std::move(reply));
    return Fetch(server.address(), {.head_bytes_max = 1000, .body_bytes_max = 10}).status().code();
  };
  EXPECT_EQ(code("SSH-2.0-server\r\n"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("HTTP/1.1 200 OK\r\n\r\n" + std::string(11, 'x')), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code(std::string(5000, 'x')), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("HTTP/1.1 200 OK\r\nA: " + std::string(900, 'x') +
                 "\r\nB: " + std::string(900, 'x') + "\r\n\r\n"),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code(""), absl::StatusCode::kUnavailable);
}

TEST(HttpClientTest, SilenceEnds) {
  ScriptedServer server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", /*hangs_up=*/false);
  const absl::Status status =
      Fetch(server.address(), {.silence_max = absl::Milliseconds(30)}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(status.message(), HasSubstr("did not answer for 30ms"));
}

TEST(HttpClientTest, NobodyThere) {
  // A port that was free a moment ago.
  const int probe = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(probe, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string name = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  const absl::Status status = Fetch(name).status();
  close(probe);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("nothing listens on " + name));
  EXPECT_THAT(status.message(), HasSubstr("is it running?"));
}

TEST(HttpClientTest, AddressesAreChecked) {
  for (const char* wrong : {"", "host", "host:", ":80", "host:0", "host:65536", "host:8x"}) {
    EXPECT_EQ(HttpClient::For(wrong, {}).status().code(), absl::StatusCode::kInvalidArgument)
        << wrong;
  }
  EXPECT_THAT(HttpClient::For("https://host:1", {}).status().message(), HasSubstr("TLS"));
  EXPECT_EQ(HttpClient::For("http://[::1]:80/", {})->address(), "[::1]:80");
}

}  // namespace
}  // namespace tessera
