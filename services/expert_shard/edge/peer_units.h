#pragma once

// Weights of a unit from another shard, for a shard that cannot read its checkpoint: ExpertShard.
// FetchUnit from the caller's side.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/rpc/cluster_secret.h"
#include "common/rpc/tls_files.h"
#include "services/expert_shard/experts/expert_table.h"

namespace tessera::expert_shard {

// Thread-safe.
class PeerUnits {
 public:
  static constexpr double kBytesPerSecondMin = 20e6;

  // A peer that hangs or crawls is given up after `patience` and the time that the unit takes at
  // kBytesPerSecondMin: steps may wait for it, and others may have it.
  PeerUnits(ClusterSecret secret, TlsFiles tls, absl::Duration patience = absl::Seconds(2));
  ~PeerUnits();

  // Fills `bytes` with the stored parts of a unit from the shard at `address`, which would make
  // that version of them. On an error their contents are arbitrary.
  //   kNotFound            the peer does not hold it
  //   kFailedPrecondition  the peer holds another version of it
  //   kDataLoss            a chunk's checksum does not fit, the sizes do not add up, or the peer's
  //                        checkpoint is damaged, too
  //   kUnauthenticated, kUnavailable, kDeadlineExceeded; kCancelled after Stop
  absl::Status Fetch(const std::string& address, const ExpertUnit& unit, uint64_t weights_version,
                     std::span<std::byte> bytes);
  // Ends what runs and fails what follows.
  void Stop();

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::expert_shard
