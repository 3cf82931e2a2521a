#pragma once

// Expert shards in this process, over one loopback network or sockets, for tests of clusters.
//
//   RealClock clock;
//   auto network = LoopbackNetwork::Create(clock, /*seed=*/1);
//   ShardFleet fleet(model_dir, {.shard_count = 3, .router_addresses = {router.address()}}, clock,
//                    network);
//   ASSERT_TRUE(fleet.StartAll().ok());
//   fleet.Kill(1);

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/transport/transport_loopback.h"
#include "services/expert_shard/expert_shard_server.h"

namespace tessera::testing {

struct ShardFleetOptions {
  uint32_t shard_count = 2;
  uint32_t replicas = 1;
  int32_t slots_spare = -1;
  std::vector<std::string> router_addresses;
  std::string cluster_secret_file;
  std::string data_scheme =
      "loopback";  // or "shm", "ucx", "grpc": Hang, and Kill's haste, are loopback's
  expert_shard::ComputeConfig compute = {.threads = 1, .precision = "float32"};
  ExchangeConfig exchange;
  absl::Duration drain_max = absl::Seconds(3);
  std::map<size_t, std::string> model_dirs;  // of shards that read a copy of their own
};

// Shard i listens at "loopback:shard-i" or a free port, its gRPC at a free port, and it has no
// admin listener. Thread-compatible; shards that run serve on threads of their own.
class ShardFleet {
 public:
  // `clock` must outlive it.
  ShardFleet(std::string model_dir, ShardFleetOptions options, const Clock& clock,
             std::shared_ptr<LoopbackNetwork> network);

  absl::Status StartAll();
  // Starts, or starts again, one shard: it has a new incarnation and only its base units. An index
  // >= shard_count is a shard that begins with nothing.
  absl::Status Start(size_t index);
  // As SIGTERM does.
  void Stop(size_t index);
  // As SIGKILL does: its links break at once.
  void Kill(size_t index);
  // As SIGSTOP and SIGCONT do to the data plane.
  void Hang(size_t index);
  void Resume(size_t index);

  bool runs(size_t index) const { return index < shards_.size() && shards_[index] != nullptr; }
  // Requires runs(index).
  expert_shard::ExpertShardServer& shard(size_t index) { return *shards_.at(index); }
  LoopbackNetwork& network() { return *network_; }
  // Of shard `index`, for LoopbackNetwork and its faults.
  static std::string NameOf(size_t index);

 private:
  const std::string model_dir_;
  const ShardFleetOptions options_;
  const Clock& clock_;
  const std::shared_ptr<LoopbackNetwork> network_;
  std::vector<std::unique_ptr<expert_shard::ExpertShardServer>> shards_;  // null: does not run
};

}  // namespace tessera::testing
