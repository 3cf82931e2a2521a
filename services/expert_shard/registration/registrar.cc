#include "services/expert_shard/registration/registrar.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "common/concurrency/thread.h"
#include "common/rpc/channel.h"
#include "common/rpc/rpc_status.h"
#include "services/expert_shard/registration/report_wire.h"
#include "tessera/v1/cluster.grpc.pb.h"

namespace tessera::expert_shard {
// One router and the thread that talks to it.
class Registrar::Link {
 public:
  Link(const RegistrarConfig& config, std::string address, std::shared_ptr<grpc::Channel> channel,
       ReportSource reports, EpochSink epochs, std::atomic<uint64_t>& sequence)
      : config_(config),
        address_(std::move(address)),
        reports_(std::move(reports)),
        epochs_(std::move(epochs)),
        stub_(v1::Cluster::NewStub(std::move(channel))),
        sequence_(sequence),
        random_(config.shard.incarnation ^ std::hash<std::string>()(address_)) {}

  void Start() {
    thread_ = Thread("registration", [this](std::stop_token stop) {
      while (!stop.stop_requested()) Round();
    });
  }
  void Stop() {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
      for (grpc::ClientContext* call : calls_) call->TryCancel();
    }
    thread_.Stop();
  }
  void Hurry() {
    absl::MutexLock lock(&mutex_);
    hurried_ = true;
  }
  bool registered() const {
    absl::MutexLock lock(&mutex_);
    return registered_;
  }
  absl::Status Drain(absl::Duration timeout);

 private:
  bool stopping() const {
    absl::MutexLock lock(&mutex_);
    return stopping_;
  }
  // Registers or beats once, then waits.
  void Round();
  absl::Status Register();
  absl::Status Heartbeat();
  // Runs one call that Stop can cut short.
  template <typename Run>
  absl::Status Call(absl::Duration timeout, const Run& run);
  absl::Status ProveTo(absl::Duration timeout, v1::Proof& proof);
  void Wait(absl::Duration duration);
  void Complain(const absl::Status& status);

  const RegistrarConfig config_;  // constant after construction
  const std::string address_;
  const ReportSource reports_;
  const EpochSink epochs_;
  const std::unique_ptr<v1::Cluster::Stub> stub_;
  // Of this incarnation's last heartbeat, to whichever router: what was told to one cannot be
  // repeated to another, nor to one that started anew.
  std::atomic<uint64_t>& sequence_;

  Random random_;  // owned by the thread, as the next six
  absl::Duration interval_ = absl::Milliseconds(100);
  absl::Duration idle_pause_;  // that the last answer granted
  absl::Duration pause_;
  uint64_t told_version_ = 0;  // of the list the router has
  bool held_wanted_ = false;
  std::string last_complaint_;

  mutable absl::Mutex mutex_;
  bool registered_ ABSL_GUARDED_BY(mutex_) = false;
  bool hurried_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<grpc::ClientContext*> calls_ ABSL_GUARDED_BY(mutex_);
  Thread thread_;
};

template <typename Run>
absl::Status Registrar::Link::Call(absl::Duration timeout, const Run& run) {
  grpc::ClientContext context;
  SetTimeout(context, timeout);
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return absl::CancelledError("the registration stops");
    calls_.push_back(&context);
  }
  const absl::Status status = FromGrpc(run(context));
  absl::MutexLock lock(&mutex_);
  calls_.erase(std::find(calls_.begin(), calls_.end(), &context));
  return status;
}

void Registrar::Link::Round() {
  const bool was_registered = registered();
  const absl::Status status = was_registered ? Heartbeat() : Register();
  if (status.ok()) {
    pause_ = absl::ZeroDuration();
    last_complaint_.clear();
    if (!was_registered) {
      TESSERA_LOG(INFO) << "registered with the router at " << address_;
    }
    return Wait(interval_ + idle_pause_);
  }
  // A router that is gone for a moment still knows us when it is back; one that started anew says
  // that it does not.
  if (was_registered && status.code() == absl::StatusCode::kNotFound) {
    absl::MutexLock lock(&mutex_);
    registered_ = false;
    return;
  }
  Complain(status);
  pause_ = std::clamp(2 * pause_, config_.pause_first, config_.pause_max);
  Wait(pause_ * (1 - 0.5 * random_.Uniform()));
}

absl::Status Registrar::Link::ProveTo(absl::Duration timeout, v1::Proof& proof) {
  return Prove(
      config_.secret,
      [this, timeout](const v1::GreetRequest& request, v1::GreetReply& reply) {
        return Call(timeout, [&](grpc::ClientContext& context) {
          return stub_->Greet(&context, request, &reply);
        });
      },
      proof);
}

absl::Status Registrar::Link::Register() {
  v1::RegisterRequest request;
  TESSERA_RETURN_IF_ERROR(ProveTo(config_.rpc_timeout, *request.mutable_proof()));
  ShardReport report = reports_(/*with_held=*/true);
  wire::ShardDescriptor shard = config_.shard;
  shard.state = report.state;
  shard.held = std::move(report.held);
  shard.held_version = report.held_version;
  wire::ToProto(config_.model, *request.mutable_model());
  wire::ToProto(shard, *request.mutable_shard());
  request.set_sequence(sequence_);
  v1::RegisterReply reply;
  TESSERA_RETURN_IF_ERROR(Call(config_.rpc_timeout, [&](grpc::ClientContext& context) {
    return stub_->Register(&context, request, &reply);
  }));
  if (reply.heartbeat_interval_ms() > 0) {
    interval_ = absl::Milliseconds(int64_t{reply.heartbeat_interval_ms()});
  }
  idle_pause_ = absl::ZeroDuration();
  told_version_ = report.held_version;
  held_wanted_ = false;
  epochs_(Epoch{reply.epoch()});
  absl::MutexLock lock(&mutex_);
  registered_ = true;
  hurried_ = true;  // the first heartbeat follows at once
  return absl::OkStatus();
}

absl::Status Registrar::Link::Heartbeat() {
  ShardReport report = reports_(/*with_held=*/false);
  const bool with_held = held_wanted_ || report.held_version != told_version_;
  if (with_held) report = reports_(/*with_held=*/true);
  v1::HeartbeatRequest request;
  request.set_shard_id(static_cast<uint32_t>(config_.shard.shard));
  request.set_incarnation(config_.shard.incarnation);
  request.set_state(static_cast<v1::ShardState>(report.state));
  request.set_held_version(report.held_version);
  for (const wire::HeldUnit& unit : report.held) {
    if (with_held) ToProto(unit, *request.add_held());
  }
  ToProto(report.load, *request.mutable_load());
  request.set_sequence(++sequence_);
  request.set_seal(SealOf(config_.secret, request.SerializeAsString()));
  v1::HeartbeatReply reply;
  TESSERA_RETURN_IF_ERROR(Call(config_.rpc_timeout, [&](grpc::ClientContext& context) {
    return stub_->Heartbeat(&context, request, &reply);
  }));
  if (with_held) told_version_ = report.held_version;
  held_wanted_ = reply.held_wanted();
  idle_pause_ = absl::Milliseconds(int64_t{reply.pause_ms()});
  if (held_wanted_) Hurry();
  epochs_(Epoch{reply.epoch()});
  return absl::OkStatus();
}

absl::Status Registrar::Link::Drain(absl::Duration timeout) {
  v1::DrainRequest request;
  request.set_shard_id(static_cast<uint32_t>(config_.shard.shard));
  request.set_incarnation(config_.shard.incarnation);
  TESSERA_RETURN_IF_ERROR(
      ProveTo(std::min(timeout, config_.rpc_timeout), *request.mutable_proof()));
  v1::DrainReply reply;
  TESSERA_RETURN_IF_ERROR(Call(timeout, [&](grpc::ClientContext& context) {
    return stub_->Drain(&context, request, &reply);
  }));
  epochs_(Epoch{reply.epoch()});
  return absl::OkStatus();
}

void Registrar::Link::Wait(absl::Duration duration) {
  absl::MutexLock lock(&mutex_);
  const auto awake = [this]()
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return hurried_ || stopping_; };
  mutex_.AwaitWithTimeout(absl::Condition(&awake), duration);
  hurried_ = false;
}

void Registrar::Link::Complain(const absl::Status& status) {
  const std::string complaint = status.ToString();
  if (complaint == last_complaint_ || stopping()) return;
  last_complaint_ = complaint;
  TESSERA_LOG(WARNING) << "the router at " << address_ << " does not take this shard: " << complaint
                       << "; it is asked again";
}

Registrar::Registrar() = default;
Registrar::~Registrar() { Stop(); }

absl::StatusOr<std::unique_ptr<Registrar>> Registrar::Start(const RegistrarConfig& config,
                                                            ReportSource reports,
                                                            EpochSink epochs) {
  std::unique_ptr<Registrar> registrar(new Registrar);
  for (const std::string& address : config.router_addresses) {
    TESSERA_ASSIGN_OR_RETURN(auto channel, MakeChannel({.address = address,
                                                        .reconnect_max = absl::Milliseconds(500),
                                                        .tls = config.tls}));
    registrar->links_.push_back(std::make_unique<Link>(config, address, std::move(channel), reports,
                                                       epochs, registrar->sequence_));
  }
  for (const auto& link : registrar->links_) link->Start();
  return registrar;
}

void Registrar::Hurry() {
  for (const auto& link : links_) link->Hurry();
}

absl::Status Registrar::Drain(absl::Duration timeout) {
  absl::Status status;
  for (const auto& link : links_) {
    if (link->registered()) status.Update(link->Drain(timeout));
  }
  return status;
}

size_t Registrar::registered_count() const {
  return static_cast<size_t>(
      std::count_if(links_.begin(), links_.end(), [](const auto& l) { return l->registered(); }));
}

void Registrar::Stop() {
  for (const auto& link : links_) link->Stop();
}

}  // namespace tessera::expert_shard
