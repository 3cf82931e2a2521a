#include "services/expert_shard/expert_shard_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/moe/dispatch_plan.h"
#include "common/transport/data_address.h"
#include "common/transport/exchange_client.h"
#include "common/weights/model_identity.h"
#include "common/wire/call_wire.h"
#include "services/expert_shard/edge/peer_units.h"
#include "services/expert_shard/experts/expert_ffn.h"
#include "tests/services/expert_shard/loaded_model.h"
#include "tests/support/shard_control.h"
#include "tests/support/shard_fleet.h"

namespace tessera::expert_shard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::OpenedSession;
using testing::SessionWish;
using testing::ShardControl;

constexpr LayerIndex kLayer{2};

// A shard as a program runs it, and a router that calls it, over one way of moving frames.
class ExpertShardServerTest : public ::testing::TestWithParam<const char*> {
 protected:
  ExpertShardConfig Config() const {
    ExpertShardConfig config;
    config.model = model_.path();
    config.grpc_listen = "127.0.0.1:0";
    config.admin_listen = "127.0.0.1:0";
    config.data_listen = GetParam();
    config.compute = {.threads = 2, .precision = "float32"};
    config.drain_max = absl::Seconds(2);
    return config;
  }
  std::unique_ptr<ExpertShardServer> Start(const ExpertShardConfig& config) {
    auto server = ExpertShardServer::Start(config, clock_, {.loopback = network_});
    EXPECT_TRUE(server.ok()) << server.status();
    return server.ok() ? *std::move(server) : nullptr;
  }
  wire::ModelIdentity Model() const {
    return {.model_hash = "",
            .d_model = static_cast<uint32_t>(model_.spec().d_model),
            .layer_count = static_cast<uint32_t>(model_.spec().layer_count),
            .expert_count = static_cast<uint32_t>(model_.spec().expert_count),
            .expert_width = static_cast<uint32_t>(model_.spec().expert_width),
            .top_k = static_cast<uint32_t>(model_.spec().top_k)};
  }
  SessionWish Wish(bool strict = false) const {
    SessionWish wish{.model = Model(), .strict = strict};
    wish.model.model_hash = wire::HashText(*ModelIdentity(model_.spec(), model_.checkpoint()));
    wish.model.kernel_level = absl::StrCat(std::string(kernels::NameOf(BestIsa())), " float32");
    return wish;
  }
  std::unique_ptr<ExchangeClient> MakeClient() const {
    const DataAddress address = *ParseDataAddress(GetParam());
    auto transport = MakeTransport(address.way, {.loopback = network_});
    EXPECT_TRUE(transport.ok()) << transport.status();
    return std::make_unique<ExchangeClient>(ExchangeConfig{}, clock_, *std::move(transport));
  }
  absl::StatusOr<PeerId> Connect(ExchangeClient& client, const OpenedSession& session) const {
    return client.Connect(ParseDataAddress(session.data_address)->place, session.hello,
                          absl::Seconds(10));
  }
  // Sends a call and waits for what becomes of it.
  absl::StatusOr<ExchangeEvent> Ask(ExchangeClient& client, PeerId peer,
                                    const wire::FrameGeometry& geometry, const ShardPlan& plan,
                                    ConstMatrixView rows) const {
    auto slot = client.Acquire(peer);
    if (!slot.ok()) return slot.status();
    const auto header = wire::WriteCall(geometry, {.layer = kLayer}, plan, rows, slot->frame);
    if (!header.ok()) return header.status();
    const auto call = client.Post(*slot, *header);
    if (!call.ok()) return call.status();
    std::vector<ExchangeEvent> events;
    while (true) {
      if (client.Wait(absl::Seconds(10), events) == 0) return absl::DeadlineExceededError("");
      for (ExchangeEvent& event : events) {
        if (event.call == *call) return std::move(event);
      }
    }
  }
  ShardPlan PlanOf(const ExpertStore& store, const RoutingView& routing) const {
    std::vector<PlacedUnit> units;
    for (const HeldExpert* held : store.Snapshot()->ByUnit()) {
      units.push_back(
          {held->unit.layer, held->unit.expert, {ShardId{0}, held->slot, held->weights_version}});
    }
    DispatchPlan plan;
    PlanDispatch(
        kLayer, routing,
        *Placement::Build(Epoch{1}, {model_.spec().layer_count, model_.spec().expert_count},
                          std::move(units)),
        {}, plan);
    return plan.shards.at(0);
  }
  // What one process computes.
  Matrix Expected(const RandomRouting& routing) const {
    Machine machine;
    const auto store = model_.LoadAll({.arithmetic = kernels::Arithmetic::kFloat32});
    ExpertFfn ffn(*store, machine.compute);
    Matrix sum(routing.rows().rows(), model_.spec().d_model);
    EXPECT_TRUE(ffn.Run(kLayer, routing.routed(), sum.view()).ok());
    return sum;
  }

  const LoadedModel model_;
  RealClock clock_;
  std::shared_ptr<LoopbackNetwork> network_ = LoopbackNetwork::Create(clock_, 1);
};

TEST_P(ExpertShardServerTest, AnswersARouterWithTheBitsOfOneProcess) {
  const auto server = Start(Config());
  ASSERT_NE(server, nullptr);
  EXPECT_THAT(server->NotReadyReasons(), IsEmpty());
  ShardControl control(server->grpc_address());
  const auto session = control.OpenSession(Wish());
  ASSERT_TRUE(session.ok()) << session.status();
  const auto client = MakeClient();
  const auto peer = Connect(*client, *session);
  ASSERT_TRUE(peer.ok()) << peer.status();
  for (const size_t rows : {1, 5, 40}) {
    const RandomRouting routing(model_.spec(), rows, rows);
    const auto event = Ask(*client, *peer, session->hello.geometry,
                           PlanOf(server->store(), routing.routing()), routing.rows());
    ASSERT_TRUE(event.ok()) << event.status();
    ASSERT_EQ(event->kind, ExchangeEvent::Kind::kReply) << event->status;
    const Matrix expected = Expected(routing);
    EXPECT_EQ(std::memcmp(event->reply.rows.f32().data(), expected.values().data(),
                          expected.values().size_bytes()),
              0);
    EXPECT_EQ(event->reply.trailer.incarnation, server->incarnation());
    EXPECT_GT(event->reply.trailer.experts_touched, 0u);
  }
  EXPECT_EQ(server->totals().calls, 3u);
  const auto counts = control.Stats();
  ASSERT_TRUE(counts.ok());
  EXPECT_EQ(counts->state, wire::ShardState::kReady);
  EXPECT_EQ(counts->calls, 3u);
  EXPECT_EQ(counts->unit_rows, 2u * (1 + 5 + 40));
}

TEST_P(ExpertShardServerTest, UnitsAreLoadedAndDroppedWhileItServes) {
  ExpertShardConfig config = Config();
  config.slice = {.shard_id = 0, .shard_count = 2, .replicas = 1};
  config.slots_spare = 8;
  const auto server = Start(config);
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->store().unit_count(), 16u);
  ShardControl control(server->grpc_address());
  const auto session = control.OpenSession(Wish());
  ASSERT_TRUE(session.ok()) << session.status();
  const auto client = MakeClient();
  const auto peer = Connect(*client, *session);
  ASSERT_TRUE(peer.ok()) << peer.status();

  std::vector<wire::HeldUnit> missing;
  for (uint32_t expert = 4; expert < 8; ++expert) {
    missing.push_back({kLayer, ExpertId{expert}, 16 + expert, 0});
  }
  const auto held = control.LoadExperts(missing, {});
  ASSERT_TRUE(held.ok()) << held.status();
  EXPECT_EQ(held->size(), 20u);
  const RandomRouting routing(model_.spec(), 6, 1);
  const ShardPlan plan = PlanOf(server->store(), routing.routing());
  const auto reply = Ask(*client, *peer, session->hello.geometry, plan, routing.rows());
  ASSERT_TRUE(reply.ok()) << reply.status();
  ASSERT_EQ(reply->kind, ExchangeEvent::Kind::kReply);
  const Matrix expected = Expected(routing);
  EXPECT_EQ(std::memcmp(reply->reply.rows.f32().data(), expected.values().data(),
                        expected.values().size_bytes()),
            0);

  ASSERT_TRUE(control.LoadExperts({}, missing).ok());
  const auto nack = Ask(*client, *peer, session->hello.geometry, plan, routing.rows());
  ASSERT_TRUE(nack.ok()) << nack.status();
  ASSERT_EQ(nack->kind, ExchangeEvent::Kind::kNack);
  EXPECT_EQ(nack->reply.trailer.reason, wire::NackReason::kNotHosted);
  const std::vector<wire::HeldUnit> taken = {{kLayer, ExpertId{7}, 0, 0}};
  EXPECT_EQ(control.LoadExperts(taken, {}).status().code(), absl::StatusCode::kResourceExhausted);
  const std::vector<wire::HeldUnit> unknown = {{LayerIndex{77}, ExpertId{7}, 22, 0}};
  EXPECT_EQ(control.LoadExperts(unknown, {}).status().code(), absl::StatusCode::kNotFound);
}

TEST_P(ExpertShardServerTest, AnOrderThatItsRouterGaveUpDropsNothing) {
  ExpertShardConfig config = Config();
  config.slice = {.shard_id = 0, .shard_count = 2, .replicas = 1};
  config.slots_spare = 8;
  const auto server = Start(config);
  ASSERT_NE(server, nullptr);
  ShardControl control(server->grpc_address());
  const std::vector<wire::HeldUnit> missing = {{kLayer, ExpertId{4}, 20, 0},
                                               {kLayer, ExpertId{5}, 21, 0}};
  const HeldExpert& first = *server->store().Snapshot()->ByUnit().front();
  const std::vector<wire::HeldUnit> leaving = {
      {first.unit.layer, first.unit.expert, first.slot, first.weights_version}};
  const absl::Status given_up = control.LoadAndGiveUp(missing, leaving, absl::Milliseconds(200));
  EXPECT_EQ(given_up.code(), absl::StatusCode::kDeadlineExceeded) << given_up;
  // The next order waits for the end of that one.
  const auto held = control.LoadExperts({}, {});
  ASSERT_TRUE(held.ok()) << held.status();
  EXPECT_TRUE(std::ranges::any_of(*held, [&](const wire::HeldUnit& unit) {
    return unit.layer == leaving[0].layer && unit.expert == leaving[0].expert;
  }));
  EXPECT_LE(held->size(), 17u) << "the second one's turn would have come in hours";
}

TEST_P(ExpertShardServerTest, ADrawnIdIsReadyWhenARouterHasTakenIt) {
  ExpertShardConfig config = Config();
  config.slice = {.shard_id = 0, .shard_count = 2, .replicas = 1};
  config.draw_shard_id = true;
  const auto server = Start(WithDrawnId(config, 5));
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->store().unit_count(), 0u) << "it is none of those with a place";
  EXPECT_THAT(server->NotReadyReasons(), ElementsAre("no router has taken this shard"));
}

TEST_P(ExpertShardServerTest, EachErrorOfASession) {
  const testing::TempFolder folder;
  testing::WriteFile(folder.File("secret"), "a secret of the cluster");
  ExpertShardConfig config = Config();
  config.cluster_secret_file = folder.File("secret");
  const auto server = Start(config);
  ASSERT_NE(server, nullptr);
  ShardControl stranger(server->grpc_address(), *ClusterSecret::FromText("some other secret"));
  EXPECT_EQ(stranger.OpenSession(Wish()).status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(stranger.OpenUnproven().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(stranger.LoadExperts({}, {}).status().code(), absl::StatusCode::kUnauthenticated);

  ShardControl control(server->grpc_address(), *ClusterSecret::FromFile(folder.File("secret")));
  SessionWish wish = Wish();
  wish.model.expert_width += 1;
  const absl::Status other = control.OpenSession(wish).status();
  EXPECT_EQ(other.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(other.message(), HasSubstr("25"));
  wish = Wish(/*strict=*/true);
  wish.model.kernel_level = "abacus float32";
  EXPECT_EQ(control.OpenSession(wish).status().code(), absl::StatusCode::kFailedPrecondition);

  const auto session = control.OpenSession(Wish());
  ASSERT_TRUE(session.ok()) << session.status();
  OpenedSession forged = *session;
  forged.hello.token[0] ^= 1;
  const auto client = MakeClient();
  EXPECT_EQ(Connect(*client, forged).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(Connect(*client, *session).ok());
  EXPECT_EQ(Connect(*client, *session).status().code(), absl::StatusCode::kPermissionDenied)
      << "a token opens one connection";
}

TEST_P(ExpertShardServerTest, StopsWithinItsTimeAndSaysSo) {
  const auto server = Start(Config());
  ASSERT_NE(server, nullptr);
  ShardControl control(server->grpc_address());
  const auto session = control.OpenSession(Wish());
  ASSERT_TRUE(session.ok()) << session.status();
  const auto client = MakeClient();
  const auto peer = Connect(*client, *session);
  ASSERT_TRUE(peer.ok()) << peer.status();
  const absl::Duration start = clock_.Elapsed();
  server->Stop();
  EXPECT_LT(clock_.Elapsed() - start, absl::Seconds(4));
  EXPECT_THAT(server->NotReadyReasons(), Not(IsEmpty()));
  std::vector<ExchangeEvent> events;
  client->Wait(absl::Seconds(10), events);
  ASSERT_FALSE(events.empty()) << "a router learns that the shard goes";
  server->Stop();  // a second one does nothing
}

INSTANTIATE_TEST_SUITE_P(Ways, ExpertShardServerTest,
                         ::testing::Values("loopback:", "shm:", "ucx:127.0.0.1:0", "grpc:"),
                         [](const ::testing::TestParamInfo<const char*>& info) {
                           const std::string_view way = info.param;
                           return std::string(way.substr(0, way.find(':')));
                         });

TEST(ExpertShardServerErrorsTest, StartSaysWhatIsWrong) {
  const LoadedModel model;
  RealClock clock;
  ExpertShardConfig config;
  config.model = model.path();
  config.grpc_listen = "127.0.0.1:0";
  config.admin_listen = "";
  config.data_listen = "loopback:";
  const auto code = [&] { return ExpertShardServer::Start(config, clock).status().code(); };
  EXPECT_EQ(code(), absl::StatusCode::kFailedPrecondition) << "no loopback network in this process";
  config.model = "/nowhere";
  EXPECT_EQ(code(), absl::StatusCode::kNotFound);
  config.model = model.path();
  config.compute.isa = "abacus";
  EXPECT_EQ(code(), absl::StatusCode::kInvalidArgument);
  config.compute.isa = "auto";
  config.cluster_secret_file = "/nowhere";
  EXPECT_EQ(code(), absl::StatusCode::kNotFound);
}

// A shard whose checkpoint was cut off under it goes on, and gets further units from its neighbour.
TEST(PeerUnitsTest, AShardWithoutItsFileLoadsFromAPeer) {
  const LoadedModel model;
  const testing::TempFolder folder;
  std::filesystem::copy(model.path(), folder.path(), std::filesystem::copy_options::recursive);
  testing::WriteFile(folder.File("secret"), "a secret of the cluster");
  RealClock clock;
  const auto network = LoopbackNetwork::Create(clock, 1);
  ExpertShardConfig config;
  config.model = model.path();
  config.grpc_listen = "127.0.0.1:0";
  config.admin_listen = "";
  config.data_listen = "loopback:a";
  config.cluster_secret_file = folder.File("secret");
  const auto whole = ExpertShardServer::Start(config, clock, {.loopback = network});
  ASSERT_TRUE(whole.ok()) << whole.status();
  config.model = folder.path();
  config.data_listen = "loopback:b";
  config.slice = {.shard_id = 0, .shard_count = 2, .replicas = 1};
  config.slots_spare = 8;
  const auto poor = ExpertShardServer::Start(config, clock, {.loopback = network});
  ASSERT_TRUE(poor.ok()) << poor.status();
  std::filesystem::resize_file(folder.path() + "/model.safetensors", 4096);

  const ExpertUnit unit{kLayer, ExpertId{7}};
  const ClusterSecret secret = *ClusterSecret::FromFile(folder.File("secret"));
  ShardControl control((*poor)->grpc_address(), secret);
  const std::vector<wire::HeldUnit> wanted = {{unit.layer, unit.expert, 20, 0}};
  EXPECT_EQ(control.LoadExperts(wanted, {}).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT((*poor)->NotReadyReasons(), IsEmpty()) << "what it holds is whole";
  const auto held = control.LoadExperts(wanted, {}, (*whole)->grpc_address());
  ASSERT_TRUE(held.ok()) << held.status();
  const auto mine = (*poor)->store().Snapshot();
  const auto theirs = (*whole)->store().Snapshot();
  const HeldExpert* copy = mine->Find(unit.layer, unit.expert);
  const HeldExpert* source = theirs->Find(unit.layer, unit.expert);
  ASSERT_NE(copy, nullptr);
  EXPECT_EQ(copy->weights_version, source->weights_version);
  EXPECT_EQ(std::memcmp(copy->memory.get(), source->memory.get(), source->size_bytes), 0);

  size_t stored = 0;
  const ExpertStore& store = (*whole)->store();
  for (const auto& part : StoredParts(store.manifest().expert(unit.layer, unit.expert))) {
    stored += part.size();
  }
  std::vector<std::byte> bytes(stored);
  const auto fetch = [&](const ClusterSecret& key, const ExpertUnit& which, uint64_t version,
                         size_t size) {
    PeerUnits peers(key, {});
    return peers.Fetch((*whole)->grpc_address(), which, version, std::span(bytes).first(size))
        .code();
  };
  const uint64_t version = source->weights_version;
  EXPECT_EQ(fetch(secret, unit, version, bytes.size()), absl::StatusCode::kOk);
  EXPECT_EQ(fetch(secret, unit, version + 1, bytes.size()), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(fetch(secret, unit, version, bytes.size() - 1), absl::StatusCode::kDataLoss);
  EXPECT_EQ(fetch(secret, {LayerIndex{77}, ExpertId{0}}, version, bytes.size()),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(fetch(*ClusterSecret::FromText("some other secret"), unit, version, bytes.size()),
            absl::StatusCode::kUnauthenticated);
  PeerUnits stopped(secret, {});
  stopped.Stop();
  EXPECT_EQ(stopped.Fetch((*whole)->grpc_address(), unit, version, bytes).code(),
            absl::StatusCode::kCancelled);
}

TEST(ShardFleetTest, ShardsTogetherHoldEverythingAndComeBack) {
  const LoadedModel model;
  RealClock clock;
  const auto network = LoopbackNetwork::Create(clock, 1);
  testing::ShardFleet fleet(model.path(), {.shard_count = 3, .replicas = 2}, clock, network);
  ASSERT_TRUE(fleet.StartAll().ok());
  size_t units = 0;
  for (size_t i = 0; i < 3; ++i) units += fleet.shard(i).store().unit_count();
  EXPECT_EQ(units, 2 * AllUnits(model.spec()).size());
  const uint64_t before = fleet.shard(1).incarnation();
  fleet.Kill(1);
  EXPECT_FALSE(fleet.runs(1));
  ASSERT_TRUE(fleet.Start(1).ok());
  EXPECT_NE(fleet.shard(1).incarnation(), before);
  fleet.Stop(2);
  EXPECT_FALSE(fleet.runs(2));
}

}  // namespace
}  // namespace tessera::expert_shard
