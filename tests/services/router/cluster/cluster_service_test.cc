// The messages of tessera.v1.Cluster as strangers may send them.

#include "services/router/cluster/cluster_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "tests/services/router/cluster/cluster_client.h"
#include "tests/support/fake_clock.h"

namespace tessera::router {
namespace {

using ::testing::HasSubstr;
using Stub = v1::Cluster::Stub;

// A registry behind the service, nothing else.
class RegistryControl final : public ClusterControl {
 public:
  absl::Status CheckLeads() const override { return leads; }
  absl::StatusOr<Registration> Register(const wire::ModelIdentity& model,
                                        wire::ShardDescriptor shard, uint64_t sequence) override {
    absl::MutexLock lock(&mutex_);
    const auto epoch = registry_.Register(model, std::move(shard), absl::Seconds(1), sequence);
    if (!epoch.ok()) return epoch.status();
    return Registration{*epoch, absl::Milliseconds(250)};
  }
  absl::StatusOr<HeartbeatAnswer> Heartbeat(ShardHeartbeat heartbeat) override {
    absl::MutexLock lock(&mutex_);
    return registry_.Heartbeat(std::move(heartbeat), absl::Seconds(1));
  }
  void Drain(ShardId shard, uint64_t incarnation,
             std::function<void(const absl::StatusOr<Epoch>&)> done) override {
    absl::MutexLock lock(&mutex_);
    done(registry_.Drain(shard, incarnation));
  }
  std::shared_ptr<const wire::PublishedPlacement> Published() const override {
    absl::MutexLock lock(&mutex_);
    return registry_.Snapshot();
  }
  absl::Status ReportRouting(const std::vector<RoutedLayer>& layers) override {
    absl::MutexLock lock(&mutex_);
    reported_ = layers;
    return absl::OkStatus();
  }
  std::vector<RoutedLayer> reported() const {
    absl::MutexLock lock(&mutex_);
    return reported_;
  }

  absl::Status leads;

 private:
  mutable absl::Mutex mutex_;
  std::vector<RoutedLayer> reported_ ABSL_GUARDED_BY(mutex_);
  ShardRegistry registry_ ABSL_GUARDED_BY(mutex_){{.model = TestModel(), .epoch_first = 5}};
};

class ClusterServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = RpcServer::Start({.stop_timeout = absl::Seconds(1)}, {service_.named()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    client_ = std::make_unique<ClusterClient>(server_->address(), TestSecret());
  }
  void TearDown() override {
    service_.EndWatches();
    server_->Stop();
  }
  v1::RegisterRequest GoodRegistration(uint32_t id = 0, uint64_t incarnation = 9) {
    v1::RegisterRequest request;
    EXPECT_TRUE(client_->AddProof(*request.mutable_proof()).ok());
    wire::ToProto(TestModel(), *request.mutable_model());
    wire::ToProto({.shard = ShardId{id},
                   .incarnation = incarnation,
                   .grpc_address = "a:1",
                   .data_address = "loopback:a",
                   .state = wire::ShardState::kReady,
                   .slot_count = 8,
                   .held = Slice(0, 4)},
                  *request.mutable_shard());
    return request;
  }
  absl::Status Register(const v1::RegisterRequest& request) {
    return client_->Call(&Stub::Register, request, registered_);
  }
  absl::Status Beat(uint32_t id, uint64_t incarnation, const v1::ShardState state) {
    v1::HeartbeatRequest request;
    request.set_shard_id(id);
    request.set_incarnation(incarnation);
    request.set_state(state);
    client_->Seal(request);
    v1::HeartbeatReply reply;
    return client_->Call(&Stub::Heartbeat, request, reply);
  }
  // The end of a watch, after reading what comes before it.
  absl::Status WatchUntilEnd(const v1::WatchPlacementRequest& request, int& updates) {
    grpc::ClientContext context;
    SetTimeout(context, absl::Seconds(20));
    const auto stream = client_->stub().WatchPlacement(&context, request);
    v1::PlacementUpdate update;
    while (stream->Read(&update)) ++updates;
    return FromGrpc(stream->Finish());
  }

  FakeClock clock_;
  RegistryControl control_;
  ClusterService service_{{.secret = TestSecret(), .watchers_max = 1}, control_, clock_};
  std::unique_ptr<RpcServer> server_;
  std::unique_ptr<ClusterClient> client_;
  v1::RegisterReply registered_;
};

TEST_F(ClusterServiceTest, ARegistrationIsAnsweredWithIntervalAndEpoch) {
  ASSERT_TRUE(Register(GoodRegistration()).ok());
  EXPECT_EQ(registered_.heartbeat_interval_ms(), 250u);
  EXPECT_EQ(registered_.epoch(), 6u);
  EXPECT_TRUE(Beat(0, 9, v1::SHARD_STATE_READY).ok());
}

TEST_F(ClusterServiceTest, AHeartbeatIsSealedAndCountsOnce) {
  ASSERT_TRUE(Register(GoodRegistration()).ok());
  v1::HeartbeatRequest request;
  request.set_shard_id(0);
  request.set_incarnation(9);
  request.set_state(v1::SHARD_STATE_DRAINING);
  v1::HeartbeatReply reply;
  const auto send = [&] { return client_->Call(&Stub::Heartbeat, request, reply).code(); };
  EXPECT_EQ(send(), absl::StatusCode::kUnauthenticated) << "no seal";
  request.set_sequence(1);
  request.set_seal(
      SealOf(TestSecret("the secret of another cluster"), request.SerializeAsString()));
  EXPECT_EQ(send(), absl::StatusCode::kUnauthenticated) << "another secret";
  request.clear_seal();
  request.set_seal(SealOf(TestSecret(), request.SerializeAsString()));
  request.set_state(v1::SHARD_STATE_READY);
  EXPECT_EQ(send(), absl::StatusCode::kUnauthenticated) << "changed under its seal";
  EXPECT_EQ(control_.Published()->shards[0].state, wire::ShardState::kReady);
  request.set_state(v1::SHARD_STATE_DRAINING);
  EXPECT_EQ(send(), absl::StatusCode::kOk);
  EXPECT_EQ(control_.Published()->shards[0].state, wire::ShardState::kDraining);
  EXPECT_EQ(send(), absl::StatusCode::kUnauthenticated) << "heard before";
}

TEST_F(ClusterServiceTest, WithoutAProofNothingIsDone) {
  v1::RegisterRequest request = GoodRegistration();
  request.clear_proof();
  EXPECT_EQ(Register(request).code(), absl::StatusCode::kUnauthenticated);
  v1::DrainReply drained;
  EXPECT_EQ(client_->Call(&Stub::Drain, v1::DrainRequest(), drained).code(),
            absl::StatusCode::kUnauthenticated);
  int updates = 0;
  EXPECT_EQ(WatchUntilEnd({}, updates).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(updates, 0);
  request = GoodRegistration();
  ASSERT_TRUE(Register(request).ok());
  EXPECT_EQ(Register(request).code(), absl::StatusCode::kUnauthenticated) << "proofs serve once";
  v1::GreetReply greeted;
  EXPECT_EQ(client_->Call(&Stub::Greet, v1::GreetRequest(), greeted).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ClusterServiceTest, AnOldProofIsRefused) {
  const v1::RegisterRequest request = GoodRegistration();
  clock_.Advance(absl::Seconds(11));
  EXPECT_EQ(Register(request).code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(ClusterServiceTest, GarbageInMessagesIsNamed) {
  const auto refuse = [&](const std::function<void(v1::RegisterRequest&)>& spoil,
                          absl::StatusCode code, const char* why) {
    v1::RegisterRequest request = GoodRegistration();
    spoil(request);
    const absl::Status refused = Register(request);
    EXPECT_EQ(refused.code(), code) << why;
    EXPECT_THAT(refused.message(), HasSubstr(why));
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  refuse([](auto& r) { r.clear_model(); }, invalid, "model_hash");
  refuse([](auto& r) { r.clear_shard(); }, invalid, "incarnation");
  refuse([](auto& r) { r.mutable_shard()->set_state(v1::ShardState(77)); }, invalid, "state 77");
  refuse([](auto& r) { r.mutable_shard()->set_shard_id(1u << 20); }, invalid, "65535");
  refuse([](auto& r) { r.mutable_shard()->set_slot_count(1); }, invalid, "slot");
  refuse([](auto& r) { r.mutable_shard()->set_slot_count(UINT32_MAX); }, invalid, "slots");
  refuse([](auto& r) { r.mutable_shard()->mutable_held(0)->set_layer(3); }, invalid,
         "out of range");
  refuse([](auto& r) { r.mutable_shard()->clear_data_address(); }, invalid, "data_address");
  refuse([](auto& r) { r.mutable_model()->set_d_model(65); }, absl::StatusCode::kFailedPrecondition,
         "64 here, 65 there");
}

TEST_F(ClusterServiceTest, LifeAndDeathOfAnId) {
  EXPECT_EQ(Beat(0, 9, v1::SHARD_STATE_READY).code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(Register(GoodRegistration()).ok());
  EXPECT_EQ(Register(GoodRegistration(0, 10)).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Beat(0, 10, v1::SHARD_STATE_READY).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Beat(0, 9, v1::SHARD_STATE_UNSPECIFIED).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Beat(0, 0, v1::SHARD_STATE_READY).code(), absl::StatusCode::kInvalidArgument);
  v1::DrainRequest request;
  request.set_shard_id(4);
  ASSERT_TRUE(client_->AddProof(*request.mutable_proof()).ok());
  v1::DrainReply reply;
  EXPECT_EQ(client_->Call(&Stub::Drain, request, reply).code(), absl::StatusCode::kNotFound);
  request.set_shard_id(0);
  ASSERT_TRUE(client_->AddProof(*request.mutable_proof()).ok());
  ASSERT_TRUE(client_->Call(&Stub::Drain, request, reply).ok());
  EXPECT_EQ(reply.epoch(), 7u);
}

TEST_F(ClusterServiceTest, WhoDoesNotLeadSaysWhoDoes) {
  const v1::RegisterRequest request = GoodRegistration();
  control_.leads = absl::FailedPreconditionError("the leader is at b:2");
  const absl::Status refused = Register(request);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("b:2"));
}

TEST_F(ClusterServiceTest, AFollowersRoutingArrivesWithAProofOnly) {
  v1::ReportRoutingRequest request;
  v1::LayerRouting& layer = *request.add_layers();
  layer.set_layer(2);
  layer.set_steps(7);
  for (const uint64_t rows : {5, 0, 9, 0}) layer.add_rows(rows);
  for (const uint64_t touches : {4, 0, 6, 0}) layer.add_touches(touches);
  v1::ReportRoutingReply reply;
  EXPECT_EQ(client_->Call(&Stub::ReportRouting, request, reply).code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(control_.reported().empty());
  ASSERT_TRUE(client_->AddProof(*request.mutable_proof()).ok());
  ASSERT_TRUE(client_->Call(&Stub::ReportRouting, request, reply).ok());
  const std::vector<RoutedLayer> reported = control_.reported();
  ASSERT_EQ(reported.size(), 1u);
  EXPECT_EQ(reported[0].layer, LayerIndex{2});
  EXPECT_EQ(reported[0].steps, 7u);
  EXPECT_EQ(reported[0].rows, (std::vector<uint64_t>{5, 0, 9, 0}));
  EXPECT_EQ(reported[0].touches, (std::vector<uint64_t>{4, 0, 6, 0}));
}

TEST_F(ClusterServiceTest, AWatchSeesThePlacementAtOnceAndEachNewOne) {
  v1::WatchPlacementRequest request;
  ASSERT_TRUE(client_->AddProof(*request.mutable_proof()).ok());
  grpc::ClientContext context;
  SetTimeout(context, absl::Seconds(20));
  const auto stream = client_->stub().WatchPlacement(&context, request);
  v1::PlacementUpdate update;
  ASSERT_TRUE(stream->Read(&update));
  EXPECT_EQ(update.placement().epoch(), 5u);
  ASSERT_TRUE(Register(GoodRegistration()).ok());
  service_.Announce();
  ASSERT_TRUE(stream->Read(&update));
  EXPECT_EQ(update.placement().epoch(), 6u);
  EXPECT_EQ(update.placement().shards_size(), 1);
  EXPECT_EQ(update.placement().layers_size(), 2);
  // A second one is one too many here.
  v1::WatchPlacementRequest second;
  ASSERT_TRUE(client_->AddProof(*second.mutable_proof()).ok());
  int updates = 0;
  EXPECT_EQ(WatchUntilEnd(second, updates).code(), absl::StatusCode::kResourceExhausted);
  service_.EndWatches();
  EXPECT_FALSE(stream->Read(&update));
  EXPECT_EQ(FromGrpc(stream->Finish()).code(), absl::StatusCode::kUnavailable);
}

TEST_F(ClusterServiceTest, AKnownEpochIsNotSentAgain) {
  v1::WatchPlacementRequest request;
  request.set_known_epoch(5);
  ASSERT_TRUE(client_->AddProof(*request.mutable_proof()).ok());
  grpc::ClientContext context;
  SetTimeout(context, absl::Seconds(20));
  const auto stream = client_->stub().WatchPlacement(&context, request);
  ASSERT_TRUE(Register(GoodRegistration()).ok());
  service_.Announce();
  v1::PlacementUpdate update;
  ASSERT_TRUE(stream->Read(&update));
  EXPECT_EQ(update.placement().epoch(), 6u);
  context.TryCancel();
  EXPECT_EQ(FromGrpc(stream->Finish()).code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace tessera::router
