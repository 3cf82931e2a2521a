#include "services/cli/top/top_frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/utf8.h"

namespace tessera::cli {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

// `process`: of the gateway that answers.
std::string Page(int quick, int process) {
  return absl::StrCat("process_start_time_seconds ", process,
                      "\ntessera_generation_tokens_total{model_name=\"m\"} 9\n"
                      "tessera_num_requests_waiting 2\ntessera_kv_cache_usage_perc 0.5\n"
                      "tessera_time_to_first_token_seconds_bucket{le=\"0.1\"} ",
                      quick, "\ntessera_time_to_first_token_seconds_bucket{le=\"+Inf\"} ", quick,
                      "\n");
}

ClusterSight Sight(double seconds, int tokens) {
  ClusterSight sight;
  sight.address = "127.0.0.1:8000";
  sight.model = "tiny";
  sight.looked_at = absl::Seconds(seconds);
  sight.metrics.emplace(Page(tokens, 17));
  sight.load = ExpertLoad{
      .window_seconds = 10,
      .layers = {{2, {0, 5, 10, 10}}, {3, {1, 1, 1, 1}}},
      .shards = {{"expert-0", "live", 20, 0.5, {15, 4}}, {"expert-1", "lost", 10, 0, {10, 0}}},
      .routers = {{"a", tokens, 100, 2, 1}, {"b", 1000 + tokens, 100, 1, 4}}};
  return sight;
}

TEST(TopFrameTest, ShowsSpeedShardsHeatAndBalance) {
  const ClusterSight before = Sight(10, 100);
  const std::string frame = DrawFrame(Sight(12, 300), &before, {.width = 100});
  EXPECT_EQ(frame,
            "tessera 127.0.0.1:8000  tiny  ready\n"
            "tokens/s 200  prompt/s 0  running 3  waiting 5  kv 50 %\n"
            "queued 2  first token p50 50 ms p95 95 ms  gap p50 - ms p95 - ms\n"
            "balance of experts 0.81 %\n"
            "balance of shards  1.00 @\n"
            "\n"
            "expert-0     live         [##########          ]  50 % busy         2 rows/s\n"
            "expert-1     lost         [                    ]   0 % busy         1 rows/s\n"
            "\n"
            "rows per expert, last 10 s; balance (mean/max, 1 is even); the same per shard\n"
            "   2 | +@@|  0.62 |@|  1.00\n"
            "   3 |@@@@|  1.00 |@|  1.00\n");
}

TEST(TopFrameTest, LayersAndShards) {
  ClusterSight sight = Sight(1, 1);
  sight.load->shards[1].state = "live";
  EXPECT_THAT(DrawFrame(sight, nullptr, {}), HasSubstr("   2 | +@@|  0.62 |@*|  0.83\n"));
  for (int i = 2; i < 100; ++i) {
    sight.load->shards.push_back({absl::StrCat("expert-", i), "live", 1, 1, {7, 7}});
  }
  for (const size_t width : {60u, 80u, 200u}) {
    const std::string frame = DrawFrame(sight, nullptr, {.width = width});
    const std::vector<std::string> lines = absl::StrSplit(frame, '\n');
    for (const std::string& line : lines) EXPECT_LE(line.size(), width) << line;
  }
}

TEST(TopFrameTest, BalanceOverTime) {
  std::vector<BalanceSight> trail = {{0, 0}, {0.25, 0.5}, {1, 1}};
  const ClusterSight sight = Sight(1, 1);
  const std::string colored = DrawFrame(sight, nullptr, {.uses_color = true}, trail);
  EXPECT_THAT(colored, HasSubstr("balance of experts 0.81  ▂█▇\n"));
  EXPECT_THAT(colored, HasSubstr("balance of shards  1.00  ▄██\n"));
  trail.resize(500, {1, 1});
  const std::string frame = DrawFrame(sight, nullptr, {.width = 60}, trail);
  const std::vector<std::string> lines = absl::StrSplit(frame, '\n');
  for (const std::string& line : lines) EXPECT_LE(line.size(), 60u) << line;
  ClusterSight idle = Sight(1, 1);
  for (auto& layer : idle.load->layers) std::ranges::fill(layer.rows, 0);
  EXPECT_THAT(DrawFrame(idle, nullptr, {}), HasSubstr("balance of experts 0.00  \n"));
}

TEST(TopFrameTest, WithoutAnEarlierSightThereAreNoRates) {
  EXPECT_THAT(DrawFrame(Sight(12, 300), nullptr, {}), HasSubstr("tokens/s -  prompt/s -"));
  ClusterSight restarted = Sight(13, 5);
  const ClusterSight before = Sight(12, 300);
  restarted.load->routers = {{"c", 5, 100, 0, 0}};
  EXPECT_THAT(DrawFrame(restarted, &before, {}), HasSubstr("tokens/s -"));
  restarted.load->routers.clear();
  EXPECT_THAT(DrawFrame(restarted, &before, {}), HasSubstr("running -  waiting -"));
}

// Behind one address: the routers' counts do not depend on which one answers.
TEST(TopFrameTest, GatewaysMayTakeTurns) {
  const ClusterSight before = Sight(10, 100);
  ClusterSight now = Sight(12, 300);
  now.metrics.emplace(Page(/*quick=*/7, /*process=*/18));
  const std::string frame = DrawFrame(now, &before, {.width = 100});
  EXPECT_THAT(frame, HasSubstr("tokens/s 200  prompt/s 0"));
  // 7 requests of one are not what came after the 100 of the other.
  EXPECT_THAT(frame, HasSubstr("first token p50 50 ms p95 95 ms"));
}

TEST(TopFrameTest, BalanceIsOfShardsAtWork) {
  ClusterSight sight = Sight(1, 1);
  sight.load->layers = {{2, {1}}, {3, {1}}, {4, {1}}};
  sight.load->shards = {{"expert-0", "live", 1, 1, {4, 8, 0}},
                        {"expert-1", "draining", 1, 1, {4, 0, 0}},
                        {"expert-2", "unreachable", 1, 1, {100, 0, 7}}};
  // Of the layers of which shards have rows: (1 + 0.5) / 2.
  EXPECT_DOUBLE_EQ(BalanceOf(*sight.load).of_shards, 0.75);
  EXPECT_DOUBLE_EQ(BalanceOf(*sight.load).of_experts, 1);
}

TEST(TopFrameTest, FitsTheTerminal) {
  ClusterSight sight = Sight(1, 1);
  sight.load->layers.clear();
  for (int64_t layer = 0; layer < 60; ++layer) {
    sight.load->layers.push_back({layer, std::vector<int64_t>(256, 1)});
  }
  const std::string frame = DrawFrame(sight, nullptr, {.width = 60, .height = 24});
  const std::vector<std::string> lines = absl::StrSplit(frame, '\n', absl::SkipEmpty());
  EXPECT_LE(lines.size(), 24u);
  for (const std::string& line : lines) EXPECT_LE(line.size(), 60u) << line;
  EXPECT_THAT(lines.back(), HasSubstr("more layers"));
}

TEST(TopFrameTest, AHundredShardsLeaveRoomForLayers) {
  ClusterSight sight = Sight(1, 1);
  sight.load->shards.clear();
  for (int i = 0; i < 100; ++i) {
    sight.load->shards.push_back({absl::StrCat("expert-", i), i == 77 ? "lost" : "live", 1, 1, {}});
  }
  for (const size_t height : {5u, 6u, 8u, 24u, 40u, 300u}) {
    const std::string frame = DrawFrame(sight, nullptr, {.width = 100, .height = height});
    const std::vector<std::string> lines = absl::StrSplit(frame, '\n');
    EXPECT_LE(lines.size() - 1, height);  // behind the last '\n' there is nothing
    if (height < 24) continue;
    EXPECT_THAT(frame, HasSubstr("expert-77")) << height;
    EXPECT_THAT(frame, HasSubstr("   3 |@@@@|")) << height;
    EXPECT_EQ(frame.find("more shards") == std::string::npos, height == 300) << frame;
  }
  EXPECT_THAT(DrawFrame(sight, nullptr, {.width = 100}), HasSubstr("expert-99"));
}

TEST(TopFrameTest, ALineIsCutBetweenCharacters) {
  ClusterSight sight = Sight(1, 1);
  sight.model = "模型é🙂\xff\xe6";
  for (size_t width = 1; width < 40; ++width) {
    const std::string frame = DrawFrame(sight, nullptr, {.width = width});
    EXPECT_EQ(FindInvalidUtf8(frame), std::string::npos) << width;
  }
  const std::string head = "tessera 127.0.0.1:8000  模型";
  EXPECT_THAT(DrawFrame(sight, nullptr, {.width = 26}), ::testing::StartsWith(head + "\n"));
}

TEST(TopFrameTest, ColoursOnlyWhereTheyAreWanted) {
  const std::string colored = DrawFrame(Sight(1, 1), nullptr, {.uses_color = true});
  EXPECT_THAT(colored, HasSubstr("\x1b[1;31mexpert-1"));
  EXPECT_THAT(colored, HasSubstr("\x1b[48;5;196m "));
  EXPECT_THAT(DrawFrame(Sight(1, 1), nullptr, {}), Not(HasSubstr("\x1b")));
}

TEST(TopFrameTest, SaysWhatIsMissing) {
  ClusterSight sight = Sight(1, 1);
  sight.not_ready = "no router\x1b[2J is connected";
  sight.metrics.reset();
  sight.load.reset();
  sight.load_error = "no router is connected";
  const std::string frame = DrawFrame(sight, nullptr, {});
  EXPECT_THAT(frame, HasSubstr("NOT READY: no router[2J is connected"));
  EXPECT_THAT(frame, HasSubstr("metrics: not to be had"));
  EXPECT_THAT(frame, HasSubstr("experts: no router is connected"));
}

}  // namespace
}  // namespace tessera::cli
