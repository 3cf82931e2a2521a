#pragma once

// An expert shard for tests: real gRPC server on any free port, real exchange over loopback, units
// that are only names.

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/base/clock.h"
#include "common/concurrency/thread.h"
#include "common/rpc/cluster_secret.h"
#include "common/rpc/rpc_status.h"
#include "common/rpc/server.h"
#include "common/transport/exchange_server.h"
#include "common/transport/transport_loopback.h"
#include "common/wire/model_identity_wire.h"
#include "common/wire/placement_wire.h"
#include "tessera/v1/expert.grpc.pb.h"
#include "tests/services/router/cluster/cluster_client.h"

namespace tessera::router {

struct FakeShardOptions {
  uint32_t id = 0;
  uint64_t incarnation = 100;
  std::vector<wire::HeldUnit> held;
  uint32_t slot_count = 8;
  std::string listen = "127.0.0.1:0";
  ClusterSecret secret = TestSecret();  // towards routers that open sessions
  wire::ModelIdentity model = TestModel();
};

class FakeShard final : public v1::ExpertShard::Service {
 public:
  FakeShard(const FakeShardOptions& options, const Clock& clock,
            const std::shared_ptr<LoopbackNetwork>& network)
      : options_(options),
        name_(absl::StrCat("shard-", options.id, "-", options.incarnation)),
        network_(network),
        keeper_(options.secret, clock),
        exchange_(ExchangeConfig{}, clock, network->MakeTransport(),
                  [this](const wire::Hello& theirs) { return CheckGreeting(theirs); }),
        held_(options.held) {
    EXPECT_TRUE(exchange_.Listen(name_).ok());
    auto server = RpcServer::Start({.listen = options.listen, .stop_timeout = absl::ZeroDuration()},
                                   {{v1::ExpertShard::service_full_name(), this}});
    EXPECT_TRUE(server.ok()) << server.status();
    if (server.ok()) server_ = *std::move(server);
  }
  ~FakeShard() override { Kill(); }

  std::string address() const { return server_->address(); }
  ExchangeServer& exchange() { return exchange_; }

  // Registers and heartbeats, again whenever it is forgotten.
  void Join(const std::string& router, const ClusterSecret& secret = TestSecret()) {
    router_ = std::make_unique<ClusterClient>(router, secret);
    joined_ = Register();
    beating_ = Thread("beat", [this](std::stop_token) {
      while (!end_.WaitForNotificationWithTimeout(absl::Milliseconds(20))) {
        if (absl::IsNotFound(Heartbeat())) Register().IgnoreError();
      }
    });
  }
  absl::Status joined() const { return joined_; }

  absl::Status Register() {
    v1::RegisterRequest request;
    if (const absl::Status s = router_->AddProof(*request.mutable_proof()); !s.ok()) return s;
    wire::ToProto(options_.model, *request.mutable_model());
    {
      absl::MutexLock lock(&mutex_);
      wire::ToProto(Descriptor(), *request.mutable_shard());
    }
    v1::RegisterReply reply;
    return router_->Call(&v1::Cluster::Stub::Register, request, reply);
  }
  absl::Status Heartbeat() {
    v1::HeartbeatRequest request;
    {
      absl::MutexLock lock(&mutex_);
      v1::ShardDescriptor described;
      wire::ToProto(Descriptor(), described);
      request.set_shard_id(options_.id);
      request.set_incarnation(options_.incarnation);
      request.set_state(described.state());
      request.set_held_version(version_);
      *request.mutable_held() = described.held();
    }
    router_->Seal(request);
    v1::HeartbeatReply reply;
    const absl::Status told = router_->Call(&v1::Cluster::Stub::Heartbeat, request, reply);
    if (told.ok()) pause_ms = reply.pause_ms();
    return told;
  }
  absl::StatusOr<uint64_t> Drain() {
    v1::DrainRequest request;
    request.set_shard_id(options_.id);
    request.set_incarnation(options_.incarnation);
    if (const absl::Status s = router_->AddProof(*request.mutable_proof()); !s.ok()) return s;
    v1::DrainReply reply;
    const absl::Status status = router_->Call(&v1::Cluster::Stub::Drain, request, reply);
    if (!status.ok()) return status;
    return reply.epoch();
  }
  // As the kernel ends a killed process: everything at once, nothing said.
  void Kill() {
    if (!end_.HasBeenNotified()) end_.Notify();
    beating_.Stop();
    network_->Kill(name_);
    if (server_ != nullptr) server_->Stop();
    server_.reset();
  }

  std::vector<wire::HeldUnit> held() const {
    absl::MutexLock lock(&mutex_);
    return held_;
  }
  // What LoadExperts answers from now on; OK: it loads.
  void FailLoads(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    load_status_ = status;
  }
  // OpenSession and LoadExperts do not return before their callers give up.
  void Hang() { hanging_ = true; }

  std::atomic<uint32_t> pause_ms{0};  // granted by the answer to the last heartbeat
  std::atomic<int> sessions{0};
  std::atomic<int> loads{0};            // orders with units to load
  std::atomic<int64_t> patience_ms{0};  // of the router with the last order
  absl::Notification hung;              // a call hangs

  grpc::Status Greet(grpc::ServerContext*, const v1::GreetRequest* request,
                     v1::GreetReply* reply) override {
    return ToGrpc(keeper_.Greet(*request, *reply));
  }
  grpc::Status OpenSession(grpc::ServerContext* context, const v1::OpenSessionRequest* request,
                           v1::OpenSessionReply* reply) override {
    if (const absl::Status s = keeper_.Check(request->proof()); !s.ok()) return ToGrpc(s);
    WaitWhileHanging(*context);
    const auto theirs = wire::ToModelIdentity(request->model());
    if (!theirs.ok()) return ToGrpc(theirs.status());
    if (const absl::Status s = wire::CompareModels(options_.model, *theirs, request->strict());
        !s.ok()) {
      return ToGrpc(s);
    }
    ++sessions;
    reply->set_token(std::string(16, static_cast<char>(options_.id + 1)));
    reply->set_data_address(absl::StrCat("loopback:", name_));
    reply->set_incarnation(options_.incarnation);
    reply->set_credits(1);
    reply->set_rows_max(std::min(request->rows_max(), 32u));
    wire::ToProto(options_.model, *reply->mutable_model());
    return grpc::Status::OK;
  }
  grpc::Status LoadExperts(grpc::ServerContext* context, const v1::LoadExpertsRequest* request,
                           v1::LoadExpertsReply* reply) override {
    if (const absl::Status s = keeper_.Check(request->proof()); !s.ok()) return ToGrpc(s);
    patience_ms =
        absl::ToInt64Milliseconds(absl::FromChrono(context->deadline()) - RealClock().Now());
    WaitWhileHanging(*context);
    absl::MutexLock lock(&mutex_);
    if (!load_status_.ok()) return ToGrpc(load_status_);
    loads += request->load_size() > 0;
    for (const v1::UnitToLoad& unit : request->load()) {
      for (const wire::HeldUnit& held : held_) {
        if (held.slot == unit.slot()) return ToGrpc(absl::ResourceExhaustedError("slot taken"));
      }
      held_.push_back({LayerIndex{unit.layer()}, ExpertId{unit.expert()}, unit.slot(), 1});
    }
    for (const v1::HeldUnit& unit : request->drop()) {
      std::erase_if(held_, [&](const wire::HeldUnit& held) {
        return ToIndex(held.layer) == unit.layer() && ToIndex(held.expert) == unit.expert();
      });
    }
    ++version_;
    v1::ShardDescriptor described;
    wire::ToProto(Descriptor(), described);
    *reply->mutable_held() = described.held();
    reply->set_held_version(version_);
    reply->set_read_bytes(100);
    return grpc::Status::OK;
  }

 private:
  wire::ShardDescriptor Descriptor() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return {.shard = ShardId{options_.id},
            .incarnation = options_.incarnation,
            .grpc_address = address(),
            .data_address = absl::StrCat("loopback:", name_),
            .state = wire::ShardState::kReady,
            .slot_count = options_.slot_count,
            .held = held_,
            .held_version = version_};
  }
  absl::StatusOr<wire::Hello> CheckGreeting(const wire::Hello& theirs) const {
    wire::SessionToken token;
    token.fill(static_cast<uint8_t>(options_.id + 1));
    if (!wire::SameToken(token, theirs.token)) return absl::UnauthenticatedError("token");
    wire::Hello answer = theirs;
    answer.incarnation = options_.incarnation;
    return answer;
  }
  void WaitWhileHanging(const grpc::ServerContext& context) {
    if (!hanging_) return;
    if (!hung.HasBeenNotified()) hung.Notify();
    while (!context.IsCancelled()) end_.WaitForNotificationWithTimeout(absl::Milliseconds(2));
  }

  const FakeShardOptions options_;
  const std::string name_;
  const std::shared_ptr<LoopbackNetwork> network_;
  ProofKeeper keeper_;
  ExchangeServer exchange_;
  std::unique_ptr<RpcServer> server_;
  std::unique_ptr<ClusterClient> router_;
  absl::Status joined_;
  std::atomic<bool> hanging_{false};
  absl::Notification end_;

  mutable absl::Mutex mutex_;
  std::vector<wire::HeldUnit> held_ ABSL_GUARDED_BY(mutex_);
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 1;
  absl::Status load_status_ ABSL_GUARDED_BY(mutex_);
  Thread beating_;
};

}  // namespace tessera::router
