#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace tessera {

// An IPv4 or IPv6 address with its port.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

struct HostPort {
  std::string host;  // without brackets; may be empty
  uint16_t port = 0;
};

// Takes "host:port" or "[v6]:port" apart without looking anything up.
//   kInvalidArgument  not of that form, or a port above 65535
absl::StatusOr<HostPort> SplitHostPort(const std::string& text);

// "127.0.0.1:8021", "[::1]:8021", "shard-0.shards:8021"; an empty host is every address of this
// box. Names are looked up, which may take as long as the name service takes.
//   kInvalidArgument  not of that form, or a port above 65535
//   kUnavailable      the name is not known
absl::StatusOr<SocketAddress> ParseSocketAddress(const std::string& text);

// The form that ParseSocketAddress reads.
std::string FormatSocketAddress(const sockaddr_storage& storage);

}  // namespace tessera
