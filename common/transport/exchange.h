#pragma once

// What both ends of an exchange share: configuration, counters.

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
#include "common/transport/progress.h"
#include "common/transport/transport.h"

namespace tessera {

// A peer is known by its link.
using PeerId = LinkId;

struct ExchangeConfig {
  // Silence of a peer with calls in flight after which it is asked for a sign of life; any frame is
  // one. Without calls in flight idle_ping_interval holds.
  absl::Duration ping_interval = absl::Milliseconds(20);
  absl::Duration idle_ping_interval = absl::Seconds(1);
  // An unanswered ping of this age means that the peer hangs. Above the worst scheduling delay of a
  // loaded box (measured: 30 ms), below the gap users notice.
  absl::Duration peer_timeout = absl::Milliseconds(150);
  // A call given up holds its slot for this long; then it is used again and a late answer dropped.
  absl::Duration abandon_grace = absl::Milliseconds(150);
  // What an answer said of the shard's queue is forgotten after so long.
  absl::Duration queue_memory = absl::Milliseconds(20);
  // Server: a connection that did not greet by then is cut off.
  absl::Duration greeting_timeout = absl::Seconds(2);
  // Server: a router that sent nothing for so long is gone (it pings at idle_ping_interval).
  absl::Duration silence_max = absl::Seconds(5);
  size_t peers_max = 256;  // server: connections at a time; more are cut off
  ProgressConfig progress;
};

struct ExchangeStats {
  uint64_t frames_sent = 0;
  uint64_t frames_received = 0;
  uint64_t bytes_sent = 0;
  uint64_t bytes_received = 0;
  uint64_t late_drops = 0;       // answers nobody waits for any more
  uint64_t duplicate_drops = 0;  // calls that had already arrived
  uint64_t corrupt_payloads = 0;
  uint64_t nacks_sent = 0;
  uint64_t pings_sent = 0;
  uint64_t peers_lost = 0;     // by error, hang or silence
  uint64_t peers_cut_off = 0;  // because they sent garbage or were refused
};

}  // namespace tessera
