#include "services/cli/remote/remote_experts.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/entropy.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/concurrency/cpu_count.h"
#include "common/kernels/compute_level.h"
#include "common/model/moe_layers.h"
#include "common/rpc/server.h"
#include "common/transport/data_address.h"
#include "common/weights/model_identity.h"
#include "services/cli/process/child_process.h"
#include "services/cli/process/local_host.h"
#include "services/cli/process/state_dir.h"
#include "services/cli/process/supervisor.h"
#include "services/cli/up/service_configs.h"
#include "services/expert_shard/expert_shard_server.h"
#include "services/router/cluster/cluster.h"
#include "services/router/dispatch/dispatcher.h"
#include "services/router/dispatch/idle_polling.h"

namespace tessera::cli {
namespace {

constexpr absl::Duration kStopLimit = absl::Seconds(3);
constexpr absl::Duration kLookInterval = absl::Milliseconds(50);
constexpr uint32_t kRowsMax = 2048;  // of a call: a whole step

absl::StatusOr<wire::ModelIdentity> IdentityOf(const router::RouterModel& model) {
  const ModelSpec& spec = model.spec();
  TESSERA_ASSIGN_OR_RETURN(const uint64_t number, ModelIdentity(spec, model.checkpoint()));
  return wire::ModelIdentity{
      .model_hash = wire::HashText(number),
      .d_model = static_cast<uint32_t>(spec.d_model),
      .layer_count = static_cast<uint32_t>(spec.layer_count),
      .expert_count = static_cast<uint32_t>(spec.expert_count),
      .expert_width = static_cast<uint32_t>(spec.expert_width),
      .top_k = static_cast<uint32_t>(spec.top_k),
      .expert_dtype = "",  // the shards choose
      .kernel_level = kernels::LevelName(model.compute().isa, model.compute().features,
                                         model.compute().arithmetic)};
}

// A folder that goes with the object, or before.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "tessera-XXXXXX").string();
    if (mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~ScratchFolder() { Remove(); }
  void Remove() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::string& path() const { return path_; }  // empty: could not be made

 private:
  std::string path_;
};

// Members stand in the order of their start.
class RemoteExperts final : public ExpertHost {
 public:
  RemoteExperts(const std::string& model_dir, const ComputeOptions& options,
                const router::RouterModel& model, const Clock& clock, Registry& registry)
      : model_dir_(model_dir),
        options_(options),
        model_(model),
        clock_(clock),
        registry_(registry) {}
  ~RemoteExperts() override;

  absl::Status Start();
  router::ExpertCalls& calls() override { return *dispatcher_; }
  std::vector<int> pids() const override {
    std::vector<int> pids;
    for (const auto& child : children_) pids.push_back(child->pid());
    return pids;
  }

 private:
  absl::Status OpenExchange();
  absl::Status OpenCluster();
  absl::Status StartChild(size_t shard);
  absl::Status StartInProcess(size_t shard);
  absl::Status WaitUntilCovered();
  size_t ShardThreads() const;

  const std::string model_dir_;
  const ComputeOptions options_;
  const router::RouterModel& model_;
  const Clock& clock_;
  Registry& registry_;
  ScratchFolder folder_;
  std::unique_ptr<StateDir> state_;
  std::string secret_file_;
  std::shared_ptr<LoopbackNetwork> loopback_;
  std::unique_ptr<ExchangeClient> exchange_;
  std::unique_ptr<router::Cluster> cluster_;
  std::unique_ptr<RpcServer> rpc_;
  std::unique_ptr<IdlePoll> idle_poll_;
  std::unique_ptr<router::Dispatcher> dispatcher_;
  std::vector<std::unique_ptr<ChildProcess>> children_;
  std::vector<std::unique_ptr<expert_shard::ExpertShardServer>> servers_;
};

absl::Status RemoteExperts::Start() {
  TESSERA_ASSIGN_OR_RETURN(const IdlePolling polling, ParseIdlePolling(options_.idle_poll));
  if (folder_.path().empty()) return absl::UnavailableError("no temporary folder can be made");
  TESSERA_ASSIGN_OR_RETURN(state_, StateDir::Open(folder_.path()));
  TESSERA_ASSIGN_OR_RETURN(secret_file_, state_->WriteSecret());
  TESSERA_RETURN_IF_ERROR(OpenExchange());
  TESSERA_RETURN_IF_ERROR(OpenCluster());
  for (size_t shard = 0; shard < options_.shards; ++shard) {
    TESSERA_RETURN_IF_ERROR(loopback_ == nullptr ? StartChild(shard) : StartInProcess(shard));
  }
  TESSERA_RETURN_IF_ERROR(WaitUntilCovered());
  // All have read what it holds: a process that is killed from here on leaves nothing behind.
  folder_.Remove();
  router::DispatchConfig dispatch;
  dispatch.strict = options_.strict;
  // Nobody else would try a failed step again: a shard that a loaded box holds up is waited for.
  dispatch.homeless_wait = absl::Seconds(10);
  TESSERA_ASSIGN_OR_RETURN(const DataAddress data, ParseDataAddress(options_.transport + ":"));
  idle_poll_ = router::StartIdlePoll(polling, data.way == DataWay::kShm,
                                     model_.pool().thread_count(), clock_);
  dispatcher_ = std::make_unique<router::Dispatcher>(
      dispatch, router::DispatchRooms{.exchange = *exchange_,
                                      .directory = cluster_->directory(),
                                      .clock = clock_,
                                      .registry = registry_,
                                      .pool = &model_.pool(),
                                      .idle_poll = idle_poll_.get()});
  return absl::OkStatus();
}

RemoteExperts::~RemoteExperts() {
  dispatcher_.reset();
  if (cluster_ != nullptr) cluster_->Stop();
  for (const auto& child : children_) child->Signal(SIGTERM);
  const absl::Duration end = clock_.Elapsed() + kStopLimit;
  for (const auto& child : children_) child->Stop(end - clock_.Elapsed());
  servers_.clear();
  if (rpc_ != nullptr) rpc_->Stop();
  rpc_.reset();
  cluster_.reset();
  exchange_.reset();
  if (!children_.empty()) RemoveStaleSharedMemory();
}

absl::Status RemoteExperts::OpenExchange() {
  TESSERA_ASSIGN_OR_RETURN(const DataAddress way, ParseDataAddress(options_.transport + ":"));
  if (way.way == DataWay::kLoopback) loopback_ = LoopbackNetwork::Create(clock_, /*seed=*/1);
  TESSERA_ASSIGN_OR_RETURN(std::unique_ptr<Transport> transport,
                           MakeTransport(way.way, {.loopback = loopback_}));
  exchange_ = std::make_unique<ExchangeClient>(ExchangeConfig{}, clock_, std::move(transport));
  return absl::OkStatus();
}

absl::Status RemoteExperts::OpenCluster() {
  router::ClusterConfig config;
  TESSERA_ASSIGN_OR_RETURN(config.model, IdentityOf(model_));
  config.moe_layers = MoeLayers(model_.spec());
  config.incarnation = FreshNumber();
  TESSERA_ASSIGN_OR_RETURN(config.secret, ClusterSecret::FromFile(secret_file_));
  config.data_scheme = options_.transport;
  config.rows_max = kRowsMax;
  // Strict answers are those of --shards=0, which rounds no row on its way to the experts.
  const bool exact = options_.strict || options_.precision == "float32";
  config.dtype_up = exact ? wire::RowDType::kF32 : wire::RowDType::kBF16;
  config.strict = options_.strict;
  TESSERA_ASSIGN_OR_RETURN(
      cluster_, router::Cluster::Start(std::move(config), *exchange_, clock_, registry_));
  TESSERA_ASSIGN_OR_RETURN(
      rpc_, RpcServer::Start({.stop_timeout = absl::Milliseconds(200)}, cluster_->services()));
  rpc_->SetServing(true);
  return absl::OkStatus();
}

size_t RemoteExperts::ShardThreads() const {
  // They compute at the same time, and in turn with the engine.
  const size_t threads = options_.threads != 0 ? options_.threads : UsableCpuCount();
  return std::max<size_t>(1, threads / options_.shards);
}

absl::Status RemoteExperts::StartChild(size_t shard) {
  TESSERA_ASSIGN_OR_RETURN(const std::string program, SiblingProgram("tessera-expert"));
  const std::string id = absl::StrCat("expert-", shard);
  ClusterSettings settings;
  std::error_code error;
  settings.model = std::filesystem::absolute(model_dir_, error).string();
  settings.secret_file = secret_file_;
  settings.transport = options_.transport;
  settings.isa = options_.isa;
  settings.precision = options_.precision;
  settings.expert_dtype = options_.expert_dtype;
  settings.weights = options_.weights;
  const std::string config_file = state_->File(id + ".json");
  TESSERA_RETURN_IF_ERROR(
      ReplaceFile(config_file, ShardConfigText(settings, {.shard_id = shard,
                                                          .shard_count = options_.shards,
                                                          .router_addresses = {rpc_->address()},
                                                          .threads = ShardThreads(),
                                                          .slots_spare = 0})));
  TESSERA_ASSIGN_OR_RETURN(
      children_.emplace_back(),
      ChildProcess::Start({program, {"--config=" + config_file}, state_->LogFile(id)}));
  return absl::OkStatus();
}

absl::Status RemoteExperts::StartInProcess(size_t shard) {
  expert_shard::ExpertShardConfig config;
  config.model = model_dir_;
  config.slice = {.shard_id = static_cast<uint32_t>(shard),
                  .shard_count = static_cast<uint32_t>(options_.shards)};
  config.slots_spare = 0;
  config.grpc_listen = "127.0.0.1:0";
  config.admin_listen = "";
  config.data_listen = absl::StrCat("loopback:expert-", shard);
  config.cluster_secret_file = secret_file_;
  config.router_addresses = {rpc_->address()};
  config.compute = {.threads = static_cast<uint32_t>(ShardThreads()),
                    .isa = options_.isa,
                    .precision = options_.precision,
                    .expert_dtype = options_.expert_dtype,
                    .weights = options_.weights};
  config.drain_max = absl::Milliseconds(100);
  TESSERA_ASSIGN_OR_RETURN(servers_.emplace_back(), expert_shard::ExpertShardServer::Start(
                                                        config, clock_, {.loopback = loopback_}));
  return absl::OkStatus();
}

absl::Status RemoteExperts::WaitUntilCovered() {
  while (!cluster_->WaitUntilCovered(kLookInterval).ok()) {
    for (size_t shard = 0; shard < children_.size(); ++shard) {
      const auto end = children_[shard]->Poll();
      if (!end.has_value()) continue;
      return absl::UnavailableError(absl::StrCat(
          "shard ", shard, " does not start (", end->ToString(), "); its last words:\n",
          LastLines(state_->LogFile(absl::StrCat("expert-", shard)))));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ExpertHost>> StartRemoteExperts(const std::string& model_dir,
                                                               const ComputeOptions& options,
                                                               const router::RouterModel& model,
                                                               const Clock& clock,
                                                               Registry& registry) {
  auto experts = std::make_unique<RemoteExperts>(model_dir, options, model, clock, registry);
  TESSERA_RETURN_IF_ERROR(experts->Start());
  return experts;
}

size_t ResidentBytes(const std::vector<int>& pids) {
  const auto kilobytes = [](const std::string& path, const std::string& key) {
    std::ifstream file(path);
    for (std::string word; file >> word;) {
      size_t value = 0;
      if (word == key && file >> value) return value;
    }
    return size_t{0};
  };
  size_t bytes = 0;
  for (const int pid : pids) {
    const std::string folder = absl::StrCat("/proc/", pid);
    size_t kb = kilobytes(folder + "/smaps_rollup", "Pss:");
    if (kb == 0) kb = kilobytes(folder + "/status", "VmRSS:");
    bytes += kb << 10;
  }
  return bytes;
}

}  // namespace tessera::cli
