#include "services/cli/up/in_process_cluster.h"

#include <poll.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/config/config_file.h"
#include "common/transport/transport_loopback.h"
#include "services/cli/process/state_dir.h"
#include "services/expert_shard/expert_shard_server.h"
#include "services/gateway/gateway_server.h"
#include "services/router/router_server.h"

namespace tessera::cli {
namespace {

constexpr absl::Duration kLookInterval = absl::Milliseconds(20);

// Waits for `fd` to be readable. False: `timeout` passed first.
bool AwaitReadable(int fd, absl::Duration timeout) {
  pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
  const int milliseconds = timeout == absl::InfiniteDuration()
                               ? -1
                               : static_cast<int>(absl::ToInt64Milliseconds(timeout));
  return poll(&entry, 1, milliseconds) > 0;
}

}  // namespace

class InProcessCluster::House {
 public:
  House(LocalClusterConfig config, const Clock& clock)
      : config_(std::move(config)),
        clock_(clock),
        loopback_(LoopbackNetwork::Create(clock, /*seed=*/1)) {}

  absl::Status Open();
  absl::Status StartRouter();
  absl::Status StartShard(size_t shard);
  absl::Status StartGateway(const GatewayPorts& ports);
  void Stop();
  // Services that are ready, of how many.
  std::pair<size_t, size_t> Ready() const;

  const LocalClusterConfig& config() const { return config_; }
  const StateDir& state() const { return *state_; }
  bool has_gateway() const { return has_gateway_; }
  const router::RouterServer& router() const { return *router_; }
  const expert_shard::ExpertShardServer& shard(size_t index) const { return *shards_[index]; }
  const gateway::GatewayServer& gateway() const { return *gateway_; }
  absl::Status WriteClusterFile(const std::vector<ClusterProcess>& processes) const {
    return ReplaceFile(state_->File("cluster.json"), ClusterJson(processes));
  }

 private:
  LocalClusterConfig config_;
  const Clock& clock_;
  const std::shared_ptr<LoopbackNetwork> loopback_;
  std::unique_ptr<StateDir> state_;
  bool has_gateway_ = false;
  std::unique_ptr<router::RouterServer> router_;
  std::vector<std::unique_ptr<expert_shard::ExpertShardServer>> shards_;
  std::unique_ptr<gateway::GatewayServer> gateway_;
};

absl::Status InProcessCluster::House::Open() {
  TESSERA_ASSIGN_OR_RETURN(state_, StateDir::Open(config_.state_dir));
  TESSERA_ASSIGN_OR_RETURN(config_.settings.secret_file, state_->WriteSecret());
  config_.settings.transport = "loopback";
  has_gateway_ = std::filesystem::exists(config_.settings.model + "/tokenizer.json");
  return absl::OkStatus();
}

absl::Status InProcessCluster::House::StartRouter() {
  const auto message = router::DefaultRouterMessage();
  TESSERA_RETURN_IF_ERROR(
      MergeConfigText(RouterConfigText(config_.settings, {.grpc_listen = "127.0.0.1:0",
                                                          .admin_listen = "127.0.0.1:0",
                                                          .endpoints_file = "",
                                                          .threads = config_.plan.router_threads,
                                                          .replicas = config_.plan.replicas}),
                      *message));
  TESSERA_ASSIGN_OR_RETURN(const router::RouterConfig config, router::ToRouterConfig(*message));
  TESSERA_ASSIGN_OR_RETURN(
      router_, router::RouterServer::Start(config, clock_, {loopback_->MakeTransport()}));
  return absl::OkStatus();
}

absl::Status InProcessCluster::House::StartShard(size_t shard) {
  const auto message = expert_shard::ExpertShardDefaults();
  TESSERA_RETURN_IF_ERROR(MergeConfigText(
      ShardConfigText(config_.settings, {.shard_id = shard,
                                         .shard_count = config_.plan.shards,
                                         .replicas = config_.plan.replicas,
                                         .router_addresses = {router_->grpc_address()},
                                         .endpoints_file = "",
                                         .threads = config_.plan.shard_threads}),
      *message));
  TESSERA_ASSIGN_OR_RETURN(const expert_shard::ExpertShardConfig config,
                           expert_shard::ToExpertShardConfig(*message));
  expert_shard::ExpertShardParts parts;
  parts.loopback = loopback_;
  TESSERA_ASSIGN_OR_RETURN(shards_.emplace_back(), expert_shard::ExpertShardServer::Start(
                                                       config, clock_, std::move(parts)));
  return absl::OkStatus();
}

absl::Status InProcessCluster::House::StartGateway(const GatewayPorts& ports) {
  const auto message = gateway::GatewayDefaults();
  TESSERA_RETURN_IF_ERROR(MergeConfigText(
      GatewayConfigText(config_.settings, {.http_listen = ports.http,
                                           .grpc_listen = ports.grpc,
                                           .admin_listen = "127.0.0.1:0",
                                           .router_addresses = {router_->grpc_address()},
                                           .endpoints_file = ""}),
      *message));
  TESSERA_ASSIGN_OR_RETURN(const gateway::GatewayConfig config, gateway::ToGatewayConfig(*message));
  TESSERA_ASSIGN_OR_RETURN(gateway_, gateway::GatewayServer::Start(config, clock_));
  return absl::OkStatus();
}

std::pair<size_t, size_t> InProcessCluster::House::Ready() const {
  size_t ready = router_->NotReadyReasons().empty() ? 1 : 0;
  for (const auto& shard : shards_) ready += shard->NotReadyReasons().empty() ? 1 : 0;
  if (has_gateway_) ready += gateway_->ReadinessReasons().empty() ? 1 : 0;
  return {ready, 1 + shards_.size() + (has_gateway_ ? 1 : 0)};
}

void InProcessCluster::House::Stop() {
  if (state_ != nullptr) unlink(state_->File("cluster.json").c_str());
  if (gateway_ != nullptr) gateway_->Stop();
  gateway_.reset();
  if (router_ != nullptr) router_->Stop();
  router_.reset();
  shards_.clear();  // nobody is left to be told
}

InProcessCluster::InProcessCluster(std::unique_ptr<House> house) : house_(std::move(house)) {}

InProcessCluster::~InProcessCluster() { house_->Stop(); }

absl::StatusOr<std::unique_ptr<BoxCluster>> InProcessCluster::Start(LocalClusterConfig config,
                                                                    const Clock& clock) {
  std::unique_ptr<InProcessCluster> cluster(
      new InProcessCluster(std::make_unique<House>(std::move(config), clock)));
  House& house = *cluster->house_;
  TESSERA_RETURN_IF_ERROR(house.Open());
  GatewayPorts ports;
  if (house.has_gateway()) {
    TESSERA_ASSIGN_OR_RETURN(ports, PickGatewayPorts(house.config().host, house.config().port));
  }
  TESSERA_RETURN_IF_ERROR(Annotate(house.StartRouter(), "router"));
  cluster->Note("router", "router-0", house.router().Endpoints());
  for (size_t shard = 0; shard < house.config().plan.shards; ++shard) {
    const std::string id = absl::StrCat("expert-", shard);
    TESSERA_RETURN_IF_ERROR(Annotate(house.StartShard(shard), id));
    cluster->Note("expert", id, house.shard(shard).Endpoints());
  }
  if (house.has_gateway()) {
    TESSERA_RETURN_IF_ERROR(Annotate(house.StartGateway(ports), "gateway"));
    cluster->Note("gateway", "gateway-0", house.gateway().Endpoints());
  }
  return cluster;
}

void InProcessCluster::Note(const std::string& role, const std::string& id,
                            const std::vector<std::pair<std::string, std::string>>& endpoints) {
  ClusterProcess process{.role = role, .id = id, .pid = getpid(), .endpoints = {}};
  for (const auto& [name, address] : endpoints) {
    if (name != "data") process.endpoints.emplace_back(name, address);  // nobody else can use it
  }
  processes_.push_back(std::move(process));
}

absl::Status InProcessCluster::WaitReady(int stop_fd,
                                         const std::function<void(size_t, size_t)>& progress) {
  for (size_t shown = std::string::npos;;) {
    const auto [ready, total] = house_->Ready();
    if (ready != shown) progress(ready, total);
    shown = ready;
    if (ready == total) break;
    if (AwaitReadable(stop_fd, kLookInterval)) return absl::CancelledError("told to stop");
  }
  return house_->WriteClusterFile(processes_);
}

absl::Status InProcessCluster::Run(int stop_fd) {
  while (!AwaitReadable(stop_fd, absl::InfiniteDuration())) {
  }
  return absl::OkStatus();
}

void InProcessCluster::Stop(const std::function<bool()>&) { house_->Stop(); }

bool InProcessCluster::has_gateway() const { return house_->has_gateway(); }
const std::string& InProcessCluster::state_path() const { return house_->state().path(); }

}  // namespace tessera::cli
