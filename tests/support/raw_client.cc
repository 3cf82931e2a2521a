#include "tests/support/raw_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "common/base/check.h"

namespace tessera::testing {

RawClient::RawClient(int port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  TESSERA_CHECK(fd_ >= 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  TESSERA_CHECK(connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
}

RawClient::~RawClient() { close(fd_); }

bool RawClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

std::string RawClient::ReadUntil(std::string_view end) {
  while (true) {
    const size_t at = end.empty() ? std::string::npos : pending_.find(end);
    if (at != std::string::npos) {
      std::string text = pending_.substr(0, at + end.size());
      pending_.erase(0, at + end.size());
      return text;
    }
    char buffer[4096];
    const ssize_t got = recv(fd_, buffer, sizeof(buffer), 0);
    if (got <= 0) return std::exchange(pending_, {});
    pending_.append(buffer, static_cast<size_t>(got));
  }
}

std::string RawClient::ReadReply() {
  const std::string head = ReadUntil("\r\n\r\n");
  const size_t at = head.find("Content-Length: ");
  if (at == std::string::npos) return head;
  const size_t length = std::strtoul(head.c_str() + at + 16, nullptr, 10);
  while (pending_.size() < length) {
    char buffer[4096];
    const ssize_t got = recv(fd_, buffer, sizeof(buffer), 0);
    if (got <= 0) break;
    pending_.append(buffer, static_cast<size_t>(got));
  }
  const std::string body = pending_.substr(0, length);
  pending_.erase(0, length);
  return head + body;
}

std::string HttpGet(int port, const std::string& path) {
  RawClient client(port);
  client.Send("GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  return client.ReadAll();
}

}  // namespace tessera::testing
