#pragma once

// A cluster of child processes on this box: what `tessera up` runs.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "services/cli/process/control_socket.h"
#include "services/cli/process/state_dir.h"
#include "services/cli/process/supervisor.h"
#include "services/cli/up/box_cluster.h"
#include "services/cli/up/box_plan.h"
#include "services/cli/up/cluster_scaling.h"
#include "services/cli/up/service_configs.h"

namespace tessera::cli {

// Where the gateway listens.
struct GatewayPorts {
  std::string http;  // host:port
  std::string grpc;
};
// `port` and the one above, or any free ones for 0. kUnavailable naming the port that is in use.
absl::StatusOr<GatewayPorts> PickGatewayPorts(const std::string& host, uint16_t port);

struct LocalClusterConfig {
  ClusterSettings settings;  // secret_file is filled in
  BoxPlan plan;
  std::string state_dir = ".tessera";
  std::string host = "127.0.0.1";  // of the gateway
  uint16_t port = 8000;            // of the gateway's HTTP, its gRPC one above; 0: any free ones
  std::string record_routing;      // file of the router's routing trace; empty: none
  SupervisorConfig supervisor;
};

class ShardDrain;  // one call to the router, on a thread of its own

// Router and gateway keep their ports over a restart, so that shards and clients find them again;
// shards take any and tell the router. Owned by the main thread.
class LocalCluster final : public BoxCluster, private ScalableShards {
 public:
  // Locks the state folder and starts the processes; WaitReady and Run do the rest.
  //   kFailedPrecondition  another cluster runs in that folder
  //   kUnavailable         the port is in use
  //   kNotFound            no tessera-router or tessera-expert beside this program
  static absl::StatusOr<std::unique_ptr<LocalCluster>> Start(LocalClusterConfig config,
                                                             const Clock& clock);
  // Stops what runs.
  ~LocalCluster() override;

  // Errors as Supervisor::Tick.
  absl::Status WaitReady(int stop_fd, const std::function<void(size_t, size_t)>& progress) override;
  absl::Status Run(int stop_fd) override;
  // Within kStopLimit.
  void Stop(const std::function<bool()>& hurry) override;

  std::vector<ClusterProcess> processes() const override { return supervisor_.processes(); }
  // False if the model has no tokenizer, or no tessera-gateway stands beside this program.
  bool has_gateway() const override { return has_gateway_; }
  const std::string& state_path() const override { return state_->path(); }

  static constexpr absl::Duration kStopLimit = absl::Milliseconds(4200);

 private:
  LocalCluster(LocalClusterConfig config, const Clock& clock);

  // ScalableShards
  absl::Status StartShard(size_t shard) override { return AddShard(shard); }
  bool IsReady(size_t shard) const override;
  std::optional<absl::Status> WhyGivenUp(size_t shard) override;
  void BeginDrain(size_t shard) override;
  std::optional<absl::Status> DrainEnd() override;
  void StopShard(size_t shard) override;
  bool IsGone(size_t shard) const override;

  absl::Status StartAll();
  // Questions of `tessera scale` and what was asked for.
  void AnswerControl();
  void Answer(const ControlSocket::Question& question);
  absl::Status AddRouter();
  absl::Status AddShard(size_t shard);
  absl::Status AddGateway(const std::string& program, const GatewayPorts& ports);
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

  size_t shard_count_ = 0;
  std::unique_ptr<ControlSocket> control_;  // null: nobody can ask
  ClusterScaling scaling_{*this};
  int asking_ = -1;  // the client that scaling_ works for
  std::map<std::string, absl::Status> given_up_;
  std::unique_ptr<ShardDrain> drain_;
};

}  // namespace tessera::cli
