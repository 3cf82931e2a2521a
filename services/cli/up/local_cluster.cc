#include "services/cli/up/local_cluster.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <filesystem>
#include <limits>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/concurrency/thread.h"
#include "common/json/json.h"
#include "services/cli/process/local_host.h"
#include "services/cli/upstream/drain_client.h"

namespace tessera::cli {
namespace {

constexpr char kLocalHost[] = "127.0.0.1";
constexpr absl::Duration kLongest = absl::Minutes(1);  // between two looks with nothing due
constexpr absl::Duration kScalingNap = absl::Milliseconds(50);
constexpr absl::Duration kDrainTimeout = absl::Seconds(90);  // beyond the router's own
constexpr absl::Duration kWriteAgain = absl::Seconds(1);     // after cluster.json met a full disk

std::string ShardName(size_t shard) { return absl::StrCat("expert-", shard); }

bool IsReadable(int fd) {
  pollfd polled{fd, POLLIN, 0};
  return poll(&polled, 1, 0) > 0;
}

// One file that is readable when either is.
class Wakers {
 public:
  Wakers(int first, int second) : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    for (const int fd : {first, second}) {
      epoll_event event{};
      event.events = EPOLLIN;
      if (fd >= 0) epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    }
  }
  ~Wakers() { close(epoll_); }
  Wakers(const Wakers&) = delete;
  Wakers& operator=(const Wakers&) = delete;
  int fd() const { return epoll_; }

 private:
  const int epoll_;
};

// {"scale":{"shards":4}}
absl::StatusOr<size_t> ReadScaleQuestion(const std::string& line) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::Parse(line));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue scale, document.root().Member("scale"));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue shards, scale.Member("shards"));
  return shards.AsUnsigned(1, 256);
}

absl::StatusOr<std::string> PickAddress() {
  TESSERA_ASSIGN_OR_RETURN(const uint16_t port, PickPort(kLocalHost));
  return absl::StrCat(kLocalHost, ":", port);
}

}  // namespace

class ShardDrain {
 public:
  ShardDrain(std::string router, std::string secret_file, size_t shard) {
    thread_ = Thread("drain", [this, router = std::move(router),
                               secret_file = std::move(secret_file), shard](std::stop_token) {
      absl::Status end =
          DrainShard(router, secret_file, static_cast<uint32_t>(shard), kDrainTimeout);
      absl::MutexLock lock(&mutex_);
      end_ = std::move(end);
    });
  }
  std::optional<absl::Status> end() const {
    absl::MutexLock lock(&mutex_);
    return end_;
  }

 private:
  mutable absl::Mutex mutex_;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  Thread thread_;  // ends first
};

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

LocalCluster::LocalCluster(LocalClusterConfig config, const Clock& clock)
    : config_(std::move(config)), supervisor_(config_.supervisor, clock) {}

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
  shard_count_ = config_.plan.shards;
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
  spec.needed = !complete_;  // those of the beginning
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
                                               .replicas = config_.plan.replicas,
                                               .record_routing = config_.record_routing});
  });
}

absl::Status LocalCluster::AddShard(size_t shard) {
  TESSERA_ASSIGN_OR_RETURN(const std::string program, SiblingProgram("tessera-expert"));
  return AddService("expert", ShardName(shard), program, [&](const std::string& endpoints) {
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
  absl::StatusOr<std::unique_ptr<ControlSocket>> control = ControlSocket::Listen(state_->path());
  if (control.ok()) {
    control_ = *std::move(control);
  } else {
    TESSERA_LOG(ERROR) << control.status().message() << "; `tessera scale` will not reach this";
  }
  const Wakers wakers(stop_fd, control_ == nullptr ? -1 : control_->fd());
  bool stale = false;
  do {
    TESSERA_ASSIGN_OR_RETURN(const bool changed, supervisor_.Tick());
    AnswerControl();
    if (changed || stale) {
      const absl::Status written = WriteClusterFile();
      stale = !written.ok();
      if (stale && changed) TESSERA_LOG(ERROR) << written.message() << "; the cluster goes on";
    }
    const absl::Duration nap = scaling_.busy() ? kScalingNap : stale ? kWriteAgain : kLongest;
    supervisor_.Sleep(wakers.fd(), nap);
  } while (!IsReadable(stop_fd));
  return absl::OkStatus();
}

// ---- more shards, or fewer

bool LocalCluster::IsReady(size_t shard) const { return supervisor_.IsReady(ShardName(shard)); }

std::optional<absl::Status> LocalCluster::WhyGivenUp(size_t shard) {
  const auto it = given_up_.find(ShardName(shard));
  if (it == given_up_.end()) return std::nullopt;
  return std::exchange(it->second, absl::OkStatus());
}

void LocalCluster::BeginDrain(size_t shard) {
  drain_ = std::make_unique<ShardDrain>(router_address_, config_.settings.secret_file, shard);
}

std::optional<absl::Status> LocalCluster::DrainEnd() {
  std::optional<absl::Status> end = drain_->end();
  if (end) drain_.reset();
  return end;
}

void LocalCluster::StopShard(size_t shard) { supervisor_.Retire(ShardName(shard), kStopLimit); }
bool LocalCluster::IsGone(size_t shard) const { return !supervisor_.Knows(ShardName(shard)); }

void LocalCluster::AnswerControl() {
  if (control_ == nullptr) return;
  for (const auto& [id, why] : supervisor_.TakeGivenUp()) given_up_[id] = why;
  for (const ControlSocket::Question& question : control_->Take()) Answer(question);
  const std::optional<absl::Status> end = scaling_.Advance();
  if (!end) return;
  shard_count_ = scaling_.shard_count();
  TESSERA_LOG(INFO) << "scaled to " << shard_count_ << " shards: " << end->ToString();
  control_->Finish(std::exchange(asking_, -1), *end);
}

void LocalCluster::Answer(const ControlSocket::Question& question) {
  const absl::StatusOr<size_t> wanted = ReadScaleQuestion(question.line);
  absl::Status status = wanted.status();
  if (status.ok()) {
    if (!scaling_.busy()) given_up_.clear();
    status = scaling_.Begin(shard_count_, *wanted,
                            [this, client = question.client](const std::string& text) {
                              control_->Tell(client, text);
                            });
  }
  if (!status.ok()) return control_->Finish(question.client, status);
  asking_ = question.client;
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
