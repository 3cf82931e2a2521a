#include "tests/support/raw_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"

namespace tessera::testing {
namespace {

constexpr int kPatienceMs = 10'000;

}  // namespace

std::string RawReply::Header(std::string_view name) const {
  const std::string start = absl::StrCat("\r\n", std::string(name), ": ");
  const size_t at = head.find(start);
  if (at == std::string::npos) return "";
  const size_t begin = at + start.size();
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

RawConnection::RawConnection(int port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
  TESSERA_CHECK(socket_ >= 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  TESSERA_CHECK(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  const int on = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

RawConnection::~RawConnection() { Close(); }

void RawConnection::Close() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
}

void RawConnection::ShrinkBuffer() {
  const int size = 4096;
  setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

bool RawConnection::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool RawConnection::Fill() {
  pollfd waits{.fd = socket_, .events = POLLIN, .revents = 0};
  if (poll(&waits, 1, kPatienceMs) <= 0) return false;
  char chunk[4096];
  const ssize_t got = recv(socket_, chunk, sizeof(chunk), 0);
  if (got <= 0) return false;
  buffer_.append(chunk, static_cast<size_t>(got));
  return true;
}

std::string RawConnection::Take(size_t size) {
  std::string taken = buffer_.substr(0, size);
  buffer_.erase(0, size);
  return taken;
}

std::optional<std::string> RawConnection::ReadUntil(std::string_view mark) {
  for (;;) {
    const size_t at = buffer_.find(mark);
    if (at != std::string::npos) return Take(at + mark.size());
    if (!Fill()) return std::nullopt;
  }
}

bool RawConnection::IsReadable(int milliseconds) {
  pollfd waits{.fd = socket_, .events = POLLIN, .revents = 0};
  return !buffer_.empty() || poll(&waits, 1, milliseconds) > 0;
}

bool RawConnection::ReadsEnd() { return buffer_.empty() && !Fill() && buffer_.empty(); }

RawReply RawConnection::ReadReply() {
  RawReply reply;
  const std::optional<std::string> head = ReadUntil("\r\n\r\n");
  if (!head.has_value()) return reply;
  reply.head = absl::AsciiStrToLower(*head);
  reply.status = std::atoi(head->c_str() + std::string_view("HTTP/1.1 ").size());
  if (reply.Header("transfer-encoding") == "chunked") {
    for (;;) {
      const std::optional<std::string> line = ReadUntil("\r\n");
      if (!line.has_value()) return reply;
      const size_t size = std::strtoul(line->c_str(), nullptr, 16);
      while (buffer_.size() < size + 2) {
        if (!Fill()) return reply;
      }
      reply.body += Take(size);
      Take(2);
      if (size == 0) break;
    }
    reply.complete = true;
    return reply;
  }
  reply.complete = reply.status == 204 || reply.status == 304;
  if (reply.complete) return reply;
  const std::string length = reply.Header("content-length");
  const size_t size = static_cast<size_t>(std::atol(length.c_str()));
  while (buffer_.size() < size || length.empty()) {
    if (!Fill()) break;
  }
  reply.complete = !length.empty() && buffer_.size() >= size;
  reply.body = Take(length.empty() ? buffer_.size() : size);
  return reply;
}

std::string RawPost(std::string_view path, std::string_view body, std::string_view headers) {
  return absl::StrCat(
      "POST ", std::string(path), " HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n",
      std::string(headers), "Content-Length: ", body.size(), "\r\n\r\n", std::string(body));
}

std::string RawGet(std::string_view path, std::string_view headers) {
  return absl::StrCat("GET ", std::string(path), " HTTP/1.1\r\nHost: test\r\n",
                      std::string(headers), "\r\n");
}

RawReply Fetch(int port, std::string_view request) {
  RawConnection connection(port);
  connection.Send(request);
  return connection.ReadReply();
}

}  // namespace tessera::testing
