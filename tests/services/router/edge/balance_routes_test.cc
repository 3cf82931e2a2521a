#include "services/router/edge/balance_routes.h"

#include <algorithm>

#include "common/json/json.h"
#include "tests/services/router/cluster/cluster_fixture.h"

namespace tessera::router {
namespace {

using ::testing::HasSubstr;

class BalanceRoutesTest : public ClusterTest {
 protected:
  HttpReply Ask(const std::string& method, const std::string& path) {
    for (const HttpRoute& route : BalanceRoutes([this] { return cluster_; })) {
      if (route.method == method && route.path == path) return route.responder({method, path});
    }
    return {.status = 404};
  }
  std::string Verdict() {
    const auto document = JsonDocument::Parse(Ask("GET", "/balance").body);
    EXPECT_TRUE(document.ok()) << document.status();
    return document.ok() ? std::string(*document->root().Find("verdict")->AsString()) : "";
  }
  bool Frozen() { return Ask("GET", "/balance").body.find("\"frozen\":true") != std::string::npos; }
  bool MetricIs(TestRouter& router, const std::string& line) {
    return router.metrics.Text().find(line) != std::string::npos;
  }
  // Two shards with half of the experts each, and one that holds nothing.
  static ClusterConfig BalancedConfig() {
    ClusterConfig config = Config();
    config.balance.moves = true;
    config.balance.interval = absl::Hours(1);
    config.balance.slots_kept_free = 0;
    return config;
  }

  Cluster* cluster_ = nullptr;
};

TEST_F(BalanceRoutesTest, BeforeThereIsAClusterTheyAreUnavailable) {
  EXPECT_EQ(Ask("GET", "/balance").status, 503);
  for (const char* path :
       {"/balance/look", "/balance/trigger", "/balance/freeze", "/balance/thaw"}) {
    EXPECT_EQ(Ask("POST", path).status, 503) << path;
    EXPECT_EQ(Ask("GET", path).status, 404) << path << ": nothing changes by looking";
  }
}

TEST_F(BalanceRoutesTest, ALookMovesNothingATriggerDoes) {
  const auto router = MakeRouter(BalancedConfig());
  cluster_ = router->cluster.get();
  const auto first = JoinHalf(*router, 0);
  const auto second = JoinHalf(*router, 1);
  ExpectCovered(*router);
  const HttpReply reply = Ask("GET", "/balance");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.content_type, "application/json");
  EXPECT_EQ(Verdict(), "none");
  EXPECT_EQ(Ask("POST", "/balance/freeze").status, 202);
  auto third = MakeShard({.id = 2, .incarnation = 100, .slot_count = 8});
  third->Join(router->server->address());
  ASSERT_TRUE(router->Await([&] { return router->Linked(2); }));
  EXPECT_EQ(Ask("POST", "/balance/look").status, 202);
  ASSERT_TRUE(router->Await([&] { return Verdict() == "frozen"; }));
  EXPECT_EQ(Ask("POST", "/balance/trigger").status, 202);
  ASSERT_TRUE(router->Await([&] { return !third->held().empty(); }));
  ASSERT_TRUE(
      router->Await([&] { return MetricIs(*router, "tessera_router_balance_rounds_total 1"); }));
}

TEST_F(BalanceRoutesTest, ADryRunOfAnUnfrozenBalancerMovesNothing) {
  ClusterConfig config = BalancedConfig();
  config.balance.steps_min = 0;
  const auto router = MakeRouter(config);
  cluster_ = router->cluster.get();
  const auto first = JoinHalf(*router, 0);
  const auto second = JoinHalf(*router, 1);
  ExpectCovered(*router);
  // All load on one shard.
  ExpertTally& tally = cluster_->meter().tally;
  for (int step = 0; step < 100; ++step) {
    for (const LayerIndex layer : TestMoeLayers()) {
      tally.CountRouting(layer, std::vector<uint32_t>{0, 1, 0, 1});
    }
    tally.Commit(absl::Seconds(1));
  }
  EXPECT_FALSE(Frozen());
  // The first look of a cluster whose shards just came may be one that moves: not asked for here.
  EXPECT_EQ(Ask("POST", "/balance/look").status, 202);
  ASSERT_TRUE(router->Await([&] { return Verdict() != "none"; }));
  EXPECT_THAT(Ask("GET", "/balance").body, HasSubstr("\"rounds\":0"));
  EXPECT_EQ(first->loads + second->loads, 0);
}

TEST_F(BalanceRoutesTest, AThawGivesBackWhatIsConfigured) {
  for (const bool moves : {false, true}) {
    ClusterConfig config = BalancedConfig();
    config.balance.moves = moves;
    const auto router = MakeRouter(config);
    cluster_ = router->cluster.get();
    EXPECT_EQ(Frozen(), !moves);
    EXPECT_EQ(Ask("POST", "/balance/freeze").status, 202);
    EXPECT_TRUE(Frozen());
    EXPECT_EQ(Ask("POST", "/balance/thaw").status, 202);
    EXPECT_EQ(Frozen(), !moves);
  }
}

TEST_F(BalanceRoutesTest, AFollowerSaysWhoLeads) {
  const auto leader = MakeRouter();
  ClusterConfig config = Config();
  config.incarnation = 8;
  config.leader = leader->server->address();
  const auto follower = MakeRouter(config);
  cluster_ = follower->cluster.get();
  for (const char* path :
       {"/balance/look", "/balance/trigger", "/balance/freeze", "/balance/thaw"}) {
    const HttpReply reply = Ask("POST", path);
    EXPECT_EQ(reply.status, 409) << path;
    EXPECT_THAT(reply.body, HasSubstr(leader->server->address()));
  }
  EXPECT_EQ(Ask("GET", "/balance").status, 200);
}

}  // namespace
}  // namespace tessera::router
