// GET /v1/experts/load of a whole cluster: what it counts, and what it says of shards.

#include "services/cli/observe/expert_load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/json/json.h"
#include "services/cli/observe/metrics_text.h"
#include "services/gateway/keys/key_set.h"
#include "tests/support/raw_http.h"
#include "tests/support/served_cluster.h"
#include "tests/support/tiny_tokenizer.h"
#include "tests/support/wait_until.h"

namespace tessera {
namespace {

using testing::Fetch;
using testing::RawGet;
using testing::RawReply;
using testing::ServedCluster;
using testing::ServedClusterOptions;
using ::testing::SizeIs;

constexpr char kPath[] = "/v1/experts/load";

struct ShardTold {
  std::string state;
  int64_t rows = 0;
  double busy_ratio = 0;
  std::vector<int64_t> layer_rows;
};
struct LoadTold {
  double window_seconds = 0;
  std::map<int64_t, std::vector<int64_t>> layers;
  std::map<std::string, ShardTold> shards;
};

std::vector<int64_t> Numbers(const JsonValue& array) {
  std::vector<int64_t> numbers;
  for (const JsonValue value : array.elements()) numbers.push_back(*value.AsInteger());
  return numbers;
}

LoadTold Parse(const std::string& body) {
  const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(body);
  EXPECT_TRUE(document.ok()) << document.status() << " in " << body;
  LoadTold told;
  const JsonValue root = document->root();
  told.window_seconds = *root.Find("window_seconds")->AsNumber();
  for (const JsonValue layer : root.Find("layers")->elements()) {
    told.layers[*layer.Find("layer")->AsInteger()] = Numbers(*layer.Find("rows"));
  }
  for (const JsonValue shard : root.Find("shards")->elements()) {
    told.shards[std::string(*shard.Find("id")->AsString())] = {
        std::string(*shard.Find("state")->AsString()), *shard.Find("rows")->AsInteger(),
        *shard.Find("busy_ratio")->AsNumber(), Numbers(*shard.Find("layer_rows"))};
  }
  return told;
}

std::string Sha256Hex(std::string_view secret) {
  std::string hex;
  for (const unsigned char byte : gateway::Sha256(secret)) {
    absl::StrAppend(&hex, absl::Hex(byte, absl::kZeroPad2));
  }
  return hex;
}

int64_t Sum(const std::vector<int64_t>& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), int64_t{0});
}

class ExpertLoadTest : public ::testing::Test {
 protected:
  void Start(const ServedClusterOptions& options) {
    auto cluster = ServedCluster::Start(options);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
  }
  LoadTold Load() {
    const RawReply reply = Fetch(cluster_->http_port(), RawGet(kPath));
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(reply.Header("content-type"), "application/json");
    return Parse(reply.body);
  }
  std::string StateOf(const std::string& shard) {
    const LoadTold told = Load();
    const auto found = told.shards.find(shard);
    return found == told.shards.end() ? "unknown" : found->second.state;
  }
  bool AwaitState(const std::string& shard, const std::string& state) {
    return testing::WaitUntil([&] { return StateOf(shard) == state; });
  }

  const ModelSpec spec_ = testing::TinyServedSpec();
  std::unique_ptr<ServedCluster> cluster_;
};

// [layer][expert] of the page for Prometheus.
std::map<int64_t, std::vector<int64_t>> TotalsOf(const std::string& page, const LoadTold& like) {
  std::map<int64_t, std::vector<int64_t>> totals;
  const cli::MetricsText text(page);
  for (const auto& [layer, rows] : like.layers) totals[layer].resize(rows.size());
  for (const auto& series : text.Of("tessera_router_expert_rows_total")) {
    totals.at(std::stoll(series.labels.at("layer"))).at(std::stoul(series.labels.at("expert"))) =
        static_cast<int64_t>(series.value);
  }
  return totals;
}

TEST_F(ExpertLoadTest, TheSumOfALayerIsRowsTimesTopK) {
  Start({.shard_count = 2, .router_config = R"("prefix_cache": false, "expert_metrics": true)"});
  constexpr int kPrompt = 21;
  constexpr int kTokens = 9;
  constexpr int kRequests = 3;
  const RealClock clock;
  const absl::Duration began = clock.Elapsed();
  for (int i = 0; i < kRequests; ++i) {
    std::vector<int> prompt(kPrompt);
    std::iota(prompt.begin(), prompt.end(), 20 + i);
    ASSERT_EQ(cluster_->Complete(prompt, kTokens), 200);
  }
  const LoadTold told = Load();
  // On a box that is stopped for long the window may have moved on; the totals have not.
  const bool whole = clock.Elapsed() - began < absl::Seconds(9);
  EXPECT_EQ(told.window_seconds, 10);
  ASSERT_THAT(told.layers, SizeIs(spec_.layer_count - spec_.dense_layer_count));
  EXPECT_EQ(told.layers.begin()->first, static_cast<int64_t>(spec_.dense_layer_count));
  ASSERT_THAT(told.shards, SizeIs(2));
  const auto totals =
      TotalsOf(ServedCluster::Page(cluster_->router_admin(), "/metrics/experts"), told);
  size_t place = 0;
  for (const auto& [layer, rows] : told.layers) {
    SCOPED_TRACE(absl::StrCat("layer ", layer));
    EXPECT_THAT(rows, SizeIs(spec_.expert_count));
    // Behind the last layer's attention only the rows that become logits go on; the last token
    // sampled is not computed any more.
    const bool last = layer + 1 == static_cast<int64_t>(spec_.layer_count);
    const int64_t computed = kRequests * (last ? kTokens : kPrompt + kTokens - 1);
    EXPECT_EQ(Sum(totals.at(layer)), computed * static_cast<int64_t>(spec_.top_k));
    if (whole) {
      EXPECT_EQ(rows, totals.at(layer));
    }
    int64_t of_shards = 0;
    for (const auto& [id, shard] : told.shards) of_shards += shard.layer_rows.at(place);
    EXPECT_EQ(of_shards, Sum(rows));
    ++place;
  }
  for (const auto& [id, shard] : told.shards) {
    EXPECT_EQ(shard.state, "live") << id;
    EXPECT_EQ(shard.rows, Sum(shard.layer_rows)) << id;
    EXPECT_GE(shard.busy_ratio, 0) << id;
    EXPECT_LE(shard.busy_ratio, 1) << id;
  }
}

// What rates are reckoned from; see `tessera top`.
TEST_F(ExpertLoadTest, RoutersTellWhatTheyGenerated) {
  Start({.shard_count = 1});
  const auto load = [this] {
    const auto told = cli::ParseExpertLoad(Fetch(cluster_->http_port(), RawGet(kPath)).body);
    EXPECT_TRUE(told.ok()) << told.status();
    return told.value_or(cli::ExpertLoad());
  };
  const cli::ExpertLoad before = load();
  ASSERT_THAT(before.routers, SizeIs(1));
  ASSERT_EQ(cluster_->Complete({30, 31, 32, 33, 34}, 7), 200);
  ASSERT_EQ(cluster_->Complete({40, 41}, 3), 200);
  using Router = cli::ExpertLoad::Router;
  // An answer may be a little old, and the board of the router is written behind a step.
  EXPECT_TRUE(testing::WaitUntil([&] {
    const cli::ExpertLoad now = load();
    return cli::GrowthOf(&Router::generation_tokens, now, before) == 10 &&
           cli::GrowthOf(&Router::prompt_tokens, now, before) == 7 &&
           now.routers[0].sequences_running == 0;
  }));
}

TEST_F(ExpertLoadTest, AKilledShardIsLostSoonAndComesBack) {
  Start({.shard_count = 2, .replicas = 2});
  EXPECT_TRUE(AwaitState("expert-0", "live"));
  EXPECT_TRUE(AwaitState("expert-1", "live"));
  const RealClock clock;
  const absl::Duration killed = clock.Elapsed();
  cluster_->KillShard(1);
  EXPECT_TRUE(AwaitState("expert-1", "lost"));
  // Two seconds are what is promised; the rest is for a box that does much else.
  EXPECT_LE(clock.Elapsed() - killed, absl::Seconds(10));
  RecordProperty("lost_after_ms",
                 static_cast<int>(absl::ToInt64Milliseconds(clock.Elapsed() - killed)));
  EXPECT_EQ(StateOf("expert-0"), "live");
  EXPECT_EQ(cluster_->Complete({30, 31, 32}, 4), 200);
  ASSERT_TRUE(cluster_->StartShard(1).ok());
  EXPECT_TRUE(AwaitState("expert-1", "live"));
}

TEST_F(ExpertLoadTest, AShardThatDrainedIsNotMissed) {
  Start({.shard_count = 2, .replicas = 2});
  EXPECT_TRUE(AwaitState("expert-1", "live"));
  cluster_->DrainShard(1);
  EXPECT_TRUE(AwaitState("expert-1", "unknown"));
  EXPECT_EQ(StateOf("expert-0"), "live");
}

TEST_F(ExpertLoadTest, TheAdminListenerTellsItToo) {
  Start({.shard_count = 1});
  const LoadTold told = Parse(ServedCluster::Page(cluster_->gateway_admin(), kPath));
  EXPECT_THAT(told.shards, SizeIs(1));
  EXPECT_EQ(ServedCluster::Page(cluster_->router_admin(), "/metrics/experts"), "status 404");
}

TEST_F(ExpertLoadTest, WithAKeyFileItNeedsAnAdminKey) {
  const testing::TempFolder folder;
  testing::WriteFile(
      folder.File("keys.json"),
      absl::StrCat(R"({"keys":[{"name":"a","sha256":")", Sha256Hex("ts-plain"),
                   R"("},{"name":"b","admin":true,"sha256":")", Sha256Hex("ts-admin"), R"("}]})"));
  Start({.shard_count = 1,
         .gateway_config = absl::StrCat(R"("keys_file": ")", folder.File("keys.json"), "\"")});
  const auto status = [&](std::string_view headers) {
    return Fetch(cluster_->http_port(), RawGet(kPath, headers)).status;
  };
  EXPECT_EQ(status(""), 401);
  EXPECT_EQ(status("Authorization: Bearer ts-other\r\n"), 401);
  EXPECT_EQ(status("Authorization: Bearer ts-plain\r\n"), 403);
  EXPECT_EQ(status("Authorization: Bearer ts-admin\r\n"), 200);
  EXPECT_THAT(Parse(ServedCluster::Page(cluster_->gateway_admin(), kPath)).shards, SizeIs(1));
}

}  // namespace
}  // namespace tessera
