#include "services/expert_shard/registration/registrar.h"

#include <gmock/gmock.h>
#include <grpcpp/server_context.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>

#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/rpc/rpc_status.h"
#include "common/rpc/server.h"
#include "tessera/v1/cluster.grpc.pb.h"

namespace tessera::expert_shard {
namespace {

// A router's control plane that remembers what it was told and answers what it is told to.
class FakeRouter final : public v1::Cluster::Service {
 public:
  explicit FakeRouter(const ClusterSecret& secret) : proofs_(secret, clock_) {}

  void Start(const std::string& listen = "127.0.0.1:0") {
    auto server = RpcServer::Start({.listen = listen, .stop_timeout = absl::Milliseconds(200)},
                                   {{v1::Cluster::service_full_name(), this}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  void Stop() { server_.reset(); }
  std::string address() const { return server_->address(); }

  grpc::Status Greet(grpc::ServerContext*, const v1::GreetRequest* request,
                     v1::GreetReply* reply) override {
    return ToGrpc(proofs_.Greet(*request, *reply));
  }
  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest* request,
                        v1::RegisterReply* reply) override {
    const absl::Status proven = proofs_.Check(request->proof());
    absl::MutexLock lock(&mutex_);
    if (!proven.ok()) ++unproven_;
    if (!proven.ok()) return ToGrpc(proven);
    if (!refusal_.ok()) ++refused_;
    if (!refusal_.ok()) return ToGrpc(refusal_);
    registered_.push_back(*request);
    known_ = true;
    reply->set_heartbeat_interval_ms(5);
    reply->set_epoch(7);
    return grpc::Status::OK;
  }
  grpc::Status Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest* request,
                         v1::HeartbeatReply* reply) override {
    absl::MutexLock lock(&mutex_);
    if (!known_) return ToGrpc(absl::NotFoundError("register again"));
    heartbeats_.push_back(*request);
    reply->set_epoch(8);
    reply->set_held_wanted(std::exchange(held_wanted_, false));
    reply->set_pause_ms(pause_ms_);
    return grpc::Status::OK;
  }
  grpc::Status Drain(grpc::ServerContext*, const v1::DrainRequest* request,
                     v1::DrainReply* reply) override {
    const absl::Status proven = proofs_.Check(request->proof());
    absl::MutexLock lock(&mutex_);
    drained_ = *request;
    reply->set_epoch(9);
    return ToGrpc(proven);
  }

  // Waits until `done` of the state, at most ten seconds.
  template <typename Done>
  bool Await(const Done& done) {
    absl::MutexLock lock(&mutex_);
    const auto condition = [this, &done] { return done(*this); };
    return mutex_.AwaitWithTimeout(absl::Condition(&condition), absl::Seconds(10));
  }
  template <typename Change>
  void With(const Change& change) {
    absl::MutexLock lock(&mutex_);
    change(*this);
  }

  // Under the mutex.
  std::vector<v1::RegisterRequest> registered_;
  std::vector<v1::HeartbeatRequest> heartbeats_;
  std::optional<v1::DrainRequest> drained_;
  absl::Status refusal_;
  int unproven_ = 0;
  int refused_ = 0;
  bool known_ = false;
  bool held_wanted_ = false;
  uint32_t pause_ms_ = 0;

 private:
  RealClock clock_;
  ProofKeeper proofs_;
  absl::Mutex mutex_;
  std::unique_ptr<RpcServer> server_;
};

class RegistrarTest : public ::testing::Test {
 protected:
  void SetUp() override {
    router_.Start();
    report_.state = wire::ShardState::kReady;
    report_.held_version = 3;
    report_.held = {{LayerIndex{1}, ExpertId{2}, 5, 99}};
    report_.load.rows_queued = 12;
  }
  RegistrarConfig Config() {
    RegistrarConfig config;
    config.router_addresses = {router_.address()};
    config.model.model_hash = "00ff";
    config.shard.shard = ShardId{4};
    config.shard.incarnation = 77;
    config.shard.grpc_address = "127.0.0.1:1";
    config.shard.data_address = "ucx:127.0.0.1:2";
    config.shard.slot_count = 8;
    config.secret = secret_;
    config.pause_first = absl::Milliseconds(2);
    config.pause_max = absl::Milliseconds(10);
    return config;
  }
  void Begin(const RegistrarConfig& config) {
    auto registrar = Registrar::Start(
        config,
        [this](bool with_held) {
          absl::MutexLock lock(&mutex_);
          ShardReport report = report_;
          if (!with_held) report.held.clear();
          return report;
        },
        [this](Epoch epoch) {
          absl::MutexLock lock(&mutex_);
          epoch_ = epoch;
        });
    ASSERT_TRUE(registrar.ok()) << registrar.status();
    registrar_ = *std::move(registrar);
  }
  bool AwaitHeartbeats(size_t count) {
    return router_.Await([count](FakeRouter& r) { return r.heartbeats_.size() >= count; });
  }

  const ClusterSecret secret_ = *ClusterSecret::FromText("a secret of the cluster");
  FakeRouter router_{secret_};
  absl::Mutex mutex_;
  ShardReport report_;
  Epoch epoch_{};
  std::unique_ptr<Registrar> registrar_;
};

TEST_F(RegistrarTest, RegistersThenBeatsAndSendsWhatItHoldsWhenThatChanges) {
  Begin(Config());
  ASSERT_TRUE(AwaitHeartbeats(3));
  router_.With([](FakeRouter& r) {
    ASSERT_EQ(r.registered_.size(), 1u);
    EXPECT_EQ(r.registered_[0].model().model_hash(), "00ff");
    EXPECT_EQ(r.registered_[0].shard().incarnation(), 77u);
    EXPECT_EQ(r.registered_[0].shard().state(), v1::SHARD_STATE_READY);
    ASSERT_EQ(r.registered_[0].shard().held_size(), 1);
    EXPECT_EQ(r.registered_[0].shard().held(0).weights_version(), 99u);
    EXPECT_EQ(r.registered_[0].shard().held_version(), 3u);
    EXPECT_EQ(r.heartbeats_[0].held_version(), 3u);
    EXPECT_EQ(r.heartbeats_[0].held_size(), 0) << "told already";
    EXPECT_EQ(r.heartbeats_[1].load().rows_queued(), 12u);
    EXPECT_EQ(r.heartbeats_[1].shard_id(), 4u);
  });
  {
    absl::MutexLock lock(&mutex_);
    EXPECT_EQ(epoch_, Epoch{8});
    report_.held_version = 4;
    report_.held.push_back({LayerIndex{1}, ExpertId{3}, 6, 99});
    report_.state = wire::ShardState::kDraining;
  }
  registrar_->Hurry();
  EXPECT_TRUE(router_.Await([](FakeRouter& r) {
    return std::ranges::any_of(r.heartbeats_, [](const v1::HeartbeatRequest& heartbeat) {
      return heartbeat.held_version() == 4 && heartbeat.held_size() == 2 &&
             heartbeat.state() == v1::SHARD_STATE_DRAINING;
    });
  }));
  EXPECT_EQ(registrar_->registered_count(), 1u);
}

TEST_F(RegistrarTest, ARouterThatMissedTheListGetsItAgain) {
  Begin(Config());
  ASSERT_TRUE(AwaitHeartbeats(2));
  size_t seen = 0;
  router_.With([&seen](FakeRouter& r) {
    r.held_wanted_ = true;
    seen = r.heartbeats_.size();
  });
  EXPECT_TRUE(router_.Await([seen](FakeRouter& r) {
    for (size_t i = seen; i < r.heartbeats_.size(); ++i) {
      if (r.heartbeats_[i].held_size() == 1) return true;
    }
    return false;
  }));
}

// What one router was told cannot be repeated to another, nor to one that started anew.
TEST_F(RegistrarTest, HeartbeatsAreNumberedPerIncarnationWhoeverIsTold) {
  FakeRouter other(secret_);
  other.Start();
  RegistrarConfig config = Config();
  config.router_addresses.push_back(other.address());
  Begin(config);
  ASSERT_TRUE(AwaitHeartbeats(10));
  ASSERT_TRUE(other.Await([](FakeRouter& r) { return r.heartbeats_.size() >= 10; }));
  router_.With([](FakeRouter& r) { r.known_ = false; });
  ASSERT_TRUE(router_.Await([](FakeRouter& r) { return r.registered_.size() == 2; }));
  registrar_->Stop();
  std::set<uint64_t> numbers;
  size_t beats = 0;
  for (FakeRouter* router : {&router_, &other}) {
    router->With([&](FakeRouter& r) {
      for (const auto& heartbeat : r.heartbeats_) numbers.insert(heartbeat.sequence());
      beats += r.heartbeats_.size();
    });
  }
  router_.With([&](FakeRouter& r) {
    // Ten heartbeats at least came here before it was forgotten.
    EXPECT_GE(r.registered_[1].sequence(), r.heartbeats_[9].sequence());
  });
  EXPECT_EQ(numbers.size(), beats) << "each number once";
}

TEST_F(RegistrarTest, AGrantedPauseIsKeptUnlessSomethingChanges) {
  router_.With([](FakeRouter& r) { r.pause_ms_ = 3'600'000; });
  Begin(Config());
  for (size_t beats = 1; beats <= 5; ++beats) {
    ASSERT_TRUE(AwaitHeartbeats(beats));
    router_.With([beats](FakeRouter& r) { EXPECT_EQ(r.heartbeats_.size(), beats); });
    if (beats == 4) router_.With([](FakeRouter& r) { r.pause_ms_ = 0; });
    if (beats < 5) registrar_->Hurry();
  }
  EXPECT_TRUE(AwaitHeartbeats(8)) << "by themselves again";
}

TEST_F(RegistrarTest, RegistersAgainWithARouterThatForgotIt) {
  Begin(Config());
  ASSERT_TRUE(AwaitHeartbeats(1));
  router_.With([](FakeRouter& r) { r.known_ = false; });
  EXPECT_TRUE(router_.Await([](FakeRouter& r) { return r.registered_.size() == 2; }));
}

TEST_F(RegistrarTest, ARouterThatRestartsIsFoundAgain) {
  Begin(Config());
  ASSERT_TRUE(AwaitHeartbeats(1));
  const std::string address = router_.address();
  router_.Stop();
  router_.With([](FakeRouter& r) { r.known_ = false; });
  router_.Start(address);
  EXPECT_TRUE(router_.Await([](FakeRouter& r) { return r.registered_.size() == 2; }));
}

TEST_F(RegistrarTest, ARefusedShardAsksUntilItIsTaken) {
  router_.With([](FakeRouter& r) { r.refusal_ = absl::FailedPreconditionError("not the leader"); });
  Begin(Config());
  ASSERT_TRUE(router_.Await([](FakeRouter& r) { return r.refused_ >= 3; }));
  EXPECT_EQ(registrar_->registered_count(), 0u);
  router_.With([](FakeRouter& r) { r.refusal_ = absl::OkStatus(); });
  EXPECT_TRUE(AwaitHeartbeats(1));
}

TEST_F(RegistrarTest, EveryRouterIsTold) {
  FakeRouter other(secret_);
  other.Start();
  RegistrarConfig config = Config();
  config.router_addresses.push_back(other.address());
  Begin(config);
  EXPECT_TRUE(AwaitHeartbeats(1));
  EXPECT_TRUE(other.Await([](FakeRouter& r) { return !r.heartbeats_.empty(); }));
  registrar_->Stop();
}

TEST_F(RegistrarTest, AnotherSecretProvesNothing) {
  RegistrarConfig config = Config();
  config.secret = *ClusterSecret::FromText("another secret entirely");
  Begin(config);
  // It gives up before it proves anything: the router's own proof is wrong already.
  EXPECT_EQ(registrar_->registered_count(), 0u);
  registrar_->Stop();
  router_.With([](FakeRouter& r) { EXPECT_TRUE(r.registered_.empty()); });
}

TEST_F(RegistrarTest, DrainAsksWhoKnowsIt) {
  Begin(Config());
  ASSERT_TRUE(AwaitHeartbeats(1));
  const absl::Status drained = registrar_->Drain(absl::Seconds(10));
  EXPECT_TRUE(drained.ok()) << drained;
  router_.With([](FakeRouter& r) {
    ASSERT_TRUE(r.drained_.has_value());
    EXPECT_EQ(r.drained_->shard_id(), 4u);
    EXPECT_EQ(r.drained_->incarnation(), 77u);
  });
}

}  // namespace
}  // namespace tessera::expert_shard
