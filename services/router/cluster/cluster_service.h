#pragma once

// tessera.v1.Cluster as a gRPC service: checks proofs and messages, asks a ClusterControl, streams
// placements.

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/rpc/cluster_secret.h"
#include "common/rpc/server.h"
#include "common/wire/model_identity_wire.h"
#include "common/wire/placement_wire.h"
#include "services/router/cluster/shard_registry.h"

namespace tessera::router {

// One layer of a follower's report.
struct RoutedLayer {
  LayerIndex layer{};
  uint64_t steps = 0;
  std::vector<uint64_t> rows;     // [expert_count]
  std::vector<uint64_t> touches;  // [expert_count]
};

// What the service needs of the cluster. Thread-safe; nothing blocks.
class ClusterControl {
 public:
  virtual ~ClusterControl() = default;
  struct Registration {
    Epoch epoch{};
    absl::Duration heartbeat_interval;
  };
  // kFailedPrecondition, with the leader's address: this router follows.
  virtual absl::Status CheckLeads() const = 0;
  // Errors as ShardRegistry's.
  virtual absl::StatusOr<Registration> Register(const wire::ModelIdentity& model,
                                                wire::ShardDescriptor shard, uint64_t sequence) = 0;
  virtual absl::StatusOr<HeartbeatAnswer> Heartbeat(ShardHeartbeat heartbeat) = 0;
  // Make before break; `done` once, perhaps at once. kNotFound; kUnavailable if the router stops,
  // kResourceExhausted if survivors cannot take what only this shard holds.
  virtual void Drain(ShardId shard, uint64_t incarnation,
                     std::function<void(const absl::StatusOr<Epoch>&)> done) = 0;
  virtual std::shared_ptr<const wire::PublishedPlacement> Published() const = 0;
  // What a following router counted. kInvalidArgument: not of this model's shape.
  virtual absl::Status ReportRouting(const std::vector<RoutedLayer>& layers) = 0;
};

struct ClusterServiceConfig {
  ClusterSecret secret;
  size_t watchers_max = 256;  // more get kResourceExhausted
};

// Thread-safe. The server is stopped before this object dies.
class ClusterService {
 public:
  // `control` and `clock` must outlive it.
  ClusterService(const ClusterServiceConfig& config, ClusterControl& control, const Clock& clock);
  ~ClusterService();

  NamedService named();
  // There is a new placement; watchers get the newest, not each one.
  void Announce();
  // Ends all streams and refuses new ones (kUnavailable), so that a server can stop at once.
  void EndWatches();
  size_t watcher_count() const;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::router
