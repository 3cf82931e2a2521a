#include "services/cli/up/local_cluster.h"

#include <unistd.h>

#include <filesystem>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "services/cli/process/local_host.h"

namespace tessera::cli {
namespace {

constexpr char kLocalHost[] = "127.0.0.1";
constexpr absl::Duration kLongest = absl::Minutes(1);     // between two looks with nothing due
constexpr absl::Duration kWriteAgain = absl::Seconds(1);  // after cluster.json met a full disk

absl::StatusOr<std::string> PickAddress() {
  TESSERA_ASSIGN_OR_RETURN(const uint16_t port, PickPort(kLocalHost));
  return absl::StrCat(kLocalHost, ":", port);
}

}  // namespace

absl::StatusOr<GatewayPorts> PickGatewayPorts(const std::string& host, uint16_t port) {
  if (port == 0) {
    TESSERA_ASSIGN_OR_RETURN(const uint16_t http, PickPort(host));
    TESSERA_ASSIGN_OR_RETURN(uint16_t grpc, PickPort(host));
    while (grpc == http) {
      TESSERA_ASSIGN_OR_RETURN(grpc, PickPort(host));
    }
    return GatewayPorts{absl::StrCat(host, ":", http), absl::StrCat(host, ":", grpc)};
  }
  if (port == std::numeric_limits<uint16_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--port=", port, ": the gateway's gRPC takes the port above; use at most ",
                     port - 1, ", or 0 for any free ones"));
  }
  const auto grpc = static_cast<uint16_t>(port + 1);
  for (const uint16_t wanted : {port, grpc}) {
    const absl::Status free = CheckCanListen(host, wanted);
    if (free.ok()) continue;
    return absl::Status(
        free.code(),
        absl::StrCat(free.message(),
                     wanted == port ? "" : ", which the gateway's gRPC takes, one above --port",
                     "; name another --port, or 0 for any free ones"));
  }
  return GatewayPorts{absl::StrCat(host, ":", port), absl::StrCat(host, ":", grpc)};
}

absl::StatusOr<std::unique_ptr<LocalCluster>> LocalCluster::Start(LocalClusterConfig config,
                                                                  const Clock& clock) {
  std::unique_ptr<LocalCluster> cluster(new LocalCluster(std::move(config), clock));
  TESSERA_ASSIGN_OR_RETURN(cluster->state_, StateDir::Open(cluster->config_.state_dir));
  RemoveStaleSharedMemory();
  TESSERA_RETURN_IF_ERROR(cluster->StartAll());
  return cluster;
}

LocalCluster::~LocalCluster() { Stop(nullptr); }

absl::Status LocalCluster::StartAll() {
  std::error_code error;
  config_.settings.model =
      std::filesystem::absolute(config_.settings.model, error).lexically_normal().string();
  TESSERA_ASSIGN_OR_RETURN(config_.settings.secret_file, state_->WriteSecret());
  const absl::StatusOr<std::string> gateway = SiblingProgram("tessera-gateway");
  // Without a tokenizer there is no text to serve; ids go to the router.
  has_gateway_ =
      gateway.ok() && std::filesystem::exists(config_.settings.model + "/tokenizer.json");
  GatewayPorts ports;
  if (has_gateway_) {
    TESSERA_ASSIGN_OR_RETURN(ports, PickGatewayPorts(config_.host, config_.port));
  }
  TESSERA_RETURN_IF_ERROR(AddRouter());
  for (size_t shard = 0; shard < config_.plan.shards; ++shard) {
    TESSERA_RETURN_IF_ERROR(AddShard(shard));
  }
  return has_gateway_ ? AddGateway(*gateway, ports) : absl::OkStatus();
}

absl::Status LocalCluster::AddService(
    const std::string& role, const std::string& id, const std::string& program,
    const std::function<std::string(const std::string& endpoints)>& config) {
  ServiceSpec spec;
  spec.role = role;
  spec.id = id;
  spec.endpoints_file = state_->File(id + ".endpoints.json");
  spec.output_file = state_->LogFile(id);
  const std::string config_file = state_->File(id + ".json");
  TESSERA_RETURN_IF_ERROR(ReplaceFile(config_file, config(spec.endpoints_file)));
  spec.command = [program, config_file](const ClusterProcess*) -> absl::StatusOr<ChildCommand> {
    return ChildCommand{program, {"--config=" + config_file}, ""};
  };
  return supervisor_.Add(std::move(spec));
}

absl::Status LocalCluster::AddRouter() {
  TESSERA_ASSIGN_OR_RETURN(const std::string program, SiblingProgram("tessera-router"));
  TESSERA_ASSIGN_OR_RETURN(router_address_, PickAddress());
  TESSERA_ASSIGN_OR_RETURN(const std::string admin, PickAddress());
  return AddService("router", "router-0", program, [&](const std::string& endpoints) {
    return RouterConfigText(config_.settings, {.grpc_listen = router_address_,
                                               .admin_listen = admin,
                                               .endpoints_file = endpoints,
                                               .threads = config_.plan.router_threads,
                                               .replicas = config_.plan.replicas});
  });
}

absl::Status LocalCluster::AddShard(size_t shard) {
  TESSERA_ASSIGN_OR_RETURN(const std::string program, SiblingProgram("tessera-expert"));
  const std::string id = absl::StrCat("expert-", shard);
  return AddService("expert", id, program, [&](const std::string& endpoints) {
    return ShardConfigText(config_.settings, {.shard_id = shard,
                                              .shard_count = config_.plan.shards,
                                              .replicas = config_.plan.replicas,
                                              .router_addresses = {router_address_},
                                              .endpoints_file = endpoints,
                                              .threads = config_.plan.shard_threads});
  });
}

absl::Status LocalCluster::AddGateway(const std::string& program, const GatewayPorts& ports) {
  TESSERA_ASSIGN_OR_RETURN(const std::string admin, PickAddress());
  return AddService("gateway", "gateway-0", program, [&](const std::string& endpoints) {
    return GatewayConfigText(config_.settings, {.http_listen = ports.http,
                                                .grpc_listen = ports.grpc,
                                                .admin_listen = admin,
                                                .router_addresses = {router_address_},
                                                .endpoints_file = endpoints});
  });
}

absl::Status LocalCluster::WriteClusterFile() {
  return ReplaceFile(state_->File("cluster.json"), ClusterJson(supervisor_.processes()));
}

absl::Status LocalCluster::WaitReady(int stop_fd,
                                     const std::function<void(size_t, size_t)>& progress) {
  for (size_t shown = supervisor_.size() + 1;;) {
    TESSERA_RETURN_IF_ERROR(supervisor_.Tick().status());
    const size_t ready = supervisor_.ready_count();
    if (ready != shown) progress(ready, supervisor_.size());
    shown = ready;
    if (ready == supervisor_.size()) break;
    if (supervisor_.Sleep(stop_fd, kLongest)) return absl::CancelledError("told to stop");
  }
  complete_ = true;
  return WriteClusterFile();
}

absl::Status LocalCluster::Run(int stop_fd) {
  bool stale = false;
  do {
    TESSERA_ASSIGN_OR_RETURN(const bool changed, supervisor_.Tick());
    if (!changed && !stale) continue;
    const absl::Status written = WriteClusterFile();
    stale = !written.ok();
    if (stale && changed) TESSERA_LOG(ERROR) << written.message() << "; the cluster goes on";
  } while (!supervisor_.Sleep(stop_fd, stale ? kWriteAgain : kLongest));
  return absl::OkStatus();
}

void LocalCluster::Stop(const std::function<bool()>& hurry) {
  if (state_ == nullptr) return;
  unlink(state_->File("cluster.json").c_str());
  supervisor_.StopAll({"gateway", "router", "expert"}, kStopLimit, hurry);
  for (const std::string& name : RemoveStaleSharedMemory()) {
    TESSERA_LOG(INFO) << "removed /dev/shm/" << name << ", left by a killed process";
  }
}

}  // namespace tessera::cli
