#pragma once

// A cluster of child processes on this box: what `tessera up` runs.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "services/cli/process/state_dir.h"
#include "services/cli/process/supervisor.h"
#include "services/cli/up/box_plan.h"
#include "services/cli/up/service_configs.h"

namespace tessera::cli {

struct LocalClusterConfig {
  ClusterSettings settings;  // secret_file is filled in
  BoxPlan plan;
  std::string state_dir = ".tessera";
  std::string host = "127.0.0.1";  // of the gateway
  uint16_t port = 8000;            // of the gateway's HTTP; 0: any free one
  SupervisorConfig supervisor;
};

// Router and gateway keep their ports over a restart, so that shards and clients find them again;
// shards take any and tell the router. Owned by the main thread.
class LocalCluster {
 public:
  // Locks the state folder and starts the processes; WaitReady and Run do the rest.
  //   kFailedPrecondition  another cluster runs in that folder
  //   kUnavailable         the port is in use
  //   kNotFound            no tessera-router or tessera-expert beside this program
  static absl::StatusOr<std::unique_ptr<LocalCluster>> Start(LocalClusterConfig config,
                                                             const Clock& clock);
  // Stops what runs.
  ~LocalCluster();

  // Returns when all are ready. `progress` is told how many are, of how many, whenever that
  // changes. kCancelled: `stop_fd` became readable. Else as Supervisor::Tick.
  absl::Status WaitReady(int stop_fd, const std::function<void(size_t, size_t)>& progress);
  // Keeps them running until `stop_fd` is readable.
  absl::Status Run(int stop_fd);
  // Ends all within kStopLimit; at once when `hurry` says so.
  void Stop(const std::function<bool()>& hurry);

  std::vector<ClusterProcess> processes() const { return supervisor_.processes(); }
  // False if the model has no tokenizer, or no tessera-gateway stands beside this program.
  bool has_gateway() const { return has_gateway_; }
  const std::string& state_path() const { return state_->path(); }

  static constexpr absl::Duration kStopLimit = absl::Milliseconds(4200);

 private:
  LocalCluster(LocalClusterConfig config, const Clock& clock)
      : config_(std::move(config)), supervisor_(config_.supervisor, clock) {}

  absl::Status StartAll();
  absl::Status AddRouter();
  absl::Status AddShard(size_t shard);
  absl::Status AddGateway(const std::string& program);
  absl::Status AddService(const std::string& role, const std::string& id,
                          const std::string& program,
                          const std::function<std::string(const std::string& endpoints)>& config);
  absl::Status WriteClusterFile();

  LocalClusterConfig config_;  // constant after Start
  std::unique_ptr<StateDir> state_;
  std::string router_address_;
  bool has_gateway_ = false;
  bool complete_ = false;  // all were ready once
  Supervisor supervisor_;
};

}  // namespace tessera::cli
