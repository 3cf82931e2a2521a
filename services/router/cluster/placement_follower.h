#pragma once

// Keeps a following router's placement up to date: a WatchPlacement stream to the leader, opened
// again whenever it ends.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "common/rpc/cluster_secret.h"
#include "common/rpc/tls_files.h"
#include "common/wire/placement_wire.h"

namespace tessera::router {

struct PlacementFollowerConfig {
  std::string leader;  // host:port of its gRPC port
  ClusterSecret secret;
  TlsFiles tls;
  absl::Duration greet_timeout = absl::Milliseconds(800);
  // A stream is opened anew after so long, so that it has a deadline as every call.
  absl::Duration stream_max = absl::Hours(1);
  absl::Duration reconnect_min = absl::Milliseconds(50);
  absl::Duration reconnect_max = absl::Seconds(1);
  uint64_t seed = 0;  // of the jitter of pauses
};

// Thread-safe.
class PlacementFollower {
 public:
  // Each placement of the leader, from the follower's thread. While the leader is away nothing
  // comes and the last placement holds.
  using OnPlacement = std::function<void(std::shared_ptr<const wire::PublishedPlacement>)>;

  PlacementFollower(PlacementFollowerConfig config, OnPlacement on_placement);
  ~PlacementFollower();
  // No callback afterwards.
  void Stop();

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::router
