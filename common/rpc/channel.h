#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/tls_files.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace tessera {

struct ChannelConfig {
  std::string address;  // host:port or [v6]:port
  size_t message_bytes_max = size_t{64} << 20;
  // A peer that is gone without a word is noticed after the two together.
  absl::Duration ping_interval = absl::Seconds(10);
  absl::Duration ping_timeout = absl::Seconds(5);
  // Pauses between attempts to reconnect grow from the first to the second, with jitter; names are
  // looked up again no sooner than the second.
  absl::Duration reconnect_min = absl::Milliseconds(100);
  absl::Duration reconnect_max = absl::Seconds(2);
  TlsFiles tls;  // empty: plain text
};

// A channel of its own (not shared with others to the same address) that connects when first used
// and reconnects by itself; keep one per peer. Errors are those of the TLS files.
// Its last reference (a ClientContext holds one, too) must not go in a callback of gRPC's: the
// process's last channel waits there for the very thread it is on, and gRPC 1.51 crashes.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ChannelConfig& config);

}  // namespace tessera
