// The dispatcher on the real clock, with shards that answer from threads of their own and the
// exchange's own waiting.

#include <memory>
#include <vector>

#include "common/base/clock.h"
#include "common/transport/transport_loopback.h"
#include "gtest/gtest.h"
#include "tests/common/transport/echo_server.h"
#include "tests/services/router/dispatch/dispatch_samples.h"

namespace tessera::router {
namespace {

class FixedDirectory final : public ShardDirectory {
 public:
  std::shared_ptr<const ClusterView> View() const override { return view; }
  void ReportDown(PeerId peer, const absl::Status&) override {
    auto next = std::make_shared<ClusterView>(*view);
    ++next->version;
    for (auto& link : next->links) {
      if (link && link->peer == peer) link.reset();
    }
    view = next;
  }
  void RequestUnits(LayerIndex, std::span<const ExpertId>, std::span<const ShardId>) override {}

  std::shared_ptr<const ClusterView> view;
};

class ThreadsTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kShards = 3;

  void SetUp() override {
    auto view = std::make_shared<ClusterView>();
    view->version = 1;
    std::vector<PlacedUnit> units;
    for (uint32_t e = 0; e < 8; ++e) {
      for (uint32_t copy = 0; copy < 2; ++copy) {
        units.push_back({LayerIndex{0}, ExpertId{e}, {ShardId{(e + copy) % kShards}, e, 1}});
      }
    }
    view->placement = *Placement::Build(Epoch{1}, {1, 8}, units);
    for (uint32_t s = 0; s < kShards; ++s) {
      shards_.push_back(std::make_unique<EchoServer>(clock_, network_->MakeTransport(), 3));
      const auto address = shards_.back()->Start("");
      ASSERT_TRUE(address.ok());
      wire::Hello hello;
      hello.session = 1;
      hello.incarnation = 1;
      hello.token.fill(7);
      hello.geometry = geometry_;
      hello.credits = 3;
      const auto peer = exchange_.Connect(*address, hello, absl::Seconds(20));
      ASSERT_TRUE(peer.ok()) << peer.status();
      view->links.push_back(ShardLink{ShardId{s}, 1, *peer, geometry_});
    }
    directory_.view = view;
  }

  // Echoed pairs: each row comes back top_k times.
  void ExpectEcho(uint64_t seed) {
    const Work work = RandomWork(5, seed);
    Matrix sum(5, 8);
    const auto flight = dispatcher_.Send(LayerIndex{0}, work.routed());
    ASSERT_TRUE(flight.ok());
    const absl::Status status = dispatcher_.Receive(*flight, sum.view());
    ASSERT_TRUE(status.ok()) << status;
    for (size_t i = 0; i < sum.values().size(); ++i) {
      ASSERT_FLOAT_EQ(sum.values()[i], 3 * work.rows.values()[i]);
    }
  }
  static DispatchConfig Strict() {
    DispatchConfig config;
    config.strict = true;
    return config;
  }

  RealClock clock_;
  const wire::FrameGeometry geometry_ = {.d_model = 8,
                                         .layer_count = 1,
                                         .expert_count = 8,
                                         .rows_max = 64,
                                         .pairs_max = 256,
                                         .dtype_up = wire::RowDType::kF32,
                                         .dtype_down = wire::RowDType::kF32,
                                         .strict = true};
  std::shared_ptr<LoopbackNetwork> network_ = LoopbackNetwork::Create(clock_, 1);
  std::vector<std::unique_ptr<EchoServer>> shards_;
  FixedDirectory directory_;
  Registry registry_;
  ExchangeClient exchange_{{}, clock_, network_->MakeTransport()};
  Dispatcher dispatcher_{Strict(), {exchange_, directory_, clock_, registry_, {}}};
};

TEST_F(ThreadsTest, ManyLayersComeBack) {
  for (uint64_t seed = 0; seed < 300; ++seed) ExpectEcho(seed);
}

TEST_F(ThreadsTest, AShardThatGoesIsReplaced) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    if (seed == 50) shards_[1] = nullptr;
    ExpectEcho(seed);
  }
  EXPECT_EQ(directory_.view->LinkOf(ShardId{1}), nullptr);
}

TEST_F(ThreadsTest, AShardThatStandsStillIsWorkedAround) {
  for (uint64_t seed = 0; seed < 20; ++seed) ExpectEcho(seed);
  shards_[2]->Hold(true);
  for (uint64_t seed = 20; seed < 60; ++seed) ExpectEcho(seed);
  shards_[2]->Hold(false);
  for (uint64_t seed = 60; seed < 80; ++seed) ExpectEcho(seed);
}

}  // namespace
}  // namespace tessera::router
