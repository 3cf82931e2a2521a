#include "services/cli/observe/expert_load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kJson[] =
    R"({"window_seconds":10,"layers":[{"layer":2,"rows":[0,1,9]},{"layer":3,"rows":[3,3,3]}],)"
    R"("shards":[{"id":"expert-0","state":"live","rows":19,"busy_ratio":0.25},)"
    R"({"id":"expert-1","state":"lost","rows":0,"busy_ratio":0,"layer_rows":[0,0]}]})";

TEST(ExpertLoadTest, ReadsWhatAGatewayTells) {
  const auto load = ParseExpertLoad(kJson);
  ASSERT_TRUE(load.ok()) << load.status();
  EXPECT_EQ(load->window_seconds, 10);
  ASSERT_EQ(load->layers.size(), 2u);
  EXPECT_EQ(load->layers[0].layer, 2);
  EXPECT_THAT(load->layers[0].rows, ElementsAre(0, 1, 9));
  ASSERT_EQ(load->shards.size(), 2u);
  EXPECT_EQ(load->shards[0].id, "expert-0");
  EXPECT_EQ(load->shards[0].rows, 19);
  EXPECT_EQ(load->shards[0].busy_ratio, 0.25);
  EXPECT_THAT(load->shards[0].layer_rows, IsEmpty());
  EXPECT_EQ(load->shards[1].state, "lost");
  EXPECT_THAT(load->shards[1].layer_rows, ElementsAre(0, 0));
}

TEST(ExpertLoadTest, SaysWhatIsWrong) {
  const auto error = [](std::string_view json) {
    const auto load = ParseExpertLoad(json);
    EXPECT_FALSE(load.ok()) << json;
    return std::string(load.status().message());
  };
  error("<html>");
  EXPECT_THAT(error("{}"), HasSubstr("window_seconds"));
  EXPECT_THAT(error(R"({"window_seconds":1,"layers":7,"shards":[]})"), HasSubstr("layers"));
  EXPECT_THAT(error(R"({"window_seconds":1,"layers":[{"layer":1,"rows":[-1]}],"shards":[]})"),
              HasSubstr("-1"));
  EXPECT_THAT(error(R"({"window_seconds":1,"layers":[],"shards":[],"routers":[{"id":"a"}]})"),
              HasSubstr("generation_tokens"));
}

ExpertLoad LoadWith(const std::string& routers) {
  const auto load = ParseExpertLoad(R"({"window_seconds":1,"layers":[],"shards":[],"routers":[)" +
                                    routers + "]}");
  EXPECT_TRUE(load.ok()) << load.status();
  return load.value_or(ExpertLoad());
}

std::string Router(const std::string& id, int generation, int prompt) {
  return R"({"id":")" + id + R"(","generation_tokens":)" + std::to_string(generation) +
         R"(,"prompt_tokens":)" + std::to_string(prompt) +
         R"(,"sequences_running":3,"sequences_waiting":2})";
}

TEST(ExpertLoadTest, CountsOfRoutersGrow) {
  constexpr auto kTokens = &ExpertLoad::Router::generation_tokens;
  const ExpertLoad before = LoadWith(Router("a", 100, 10) + "," + Router("b", 1000, 20));
  ASSERT_EQ(before.routers.size(), 2u);
  EXPECT_EQ(before.routers[1].sequences_running, 3);
  EXPECT_EQ(before.routers[1].sequences_waiting, 2);
  const ExpertLoad both = LoadWith(Router("a", 107, 15) + "," + Router("b", 1030, 20));
  EXPECT_EQ(GrowthOf(kTokens, both, before), 37);
  EXPECT_EQ(GrowthOf(&ExpertLoad::Router::prompt_tokens, both, before), 5);
  // b was started anew, and c came: neither is what was computed in between.
  const ExpertLoad restarted = LoadWith(Router("a", 107, 15) + "," + Router("c", 5000, 20));
  EXPECT_EQ(GrowthOf(kTokens, restarted, before), 7);
  EXPECT_EQ(GrowthOf(kTokens, LoadWith(Router("a", 90, 15)), before), 0);
  EXPECT_EQ(GrowthOf(kTokens, LoadWith(Router("c", 9, 1)), before), std::nullopt);
  EXPECT_EQ(GrowthOf(kTokens, *ParseExpertLoad(kJson), before), std::nullopt);
}

TEST(ExpertLoadTest, OnlyShardsAtWorkAreBalanced) {
  ExpertLoad load = {.layers = {{2, {1, 1}}},
                     .shards = {{"expert-0", "live", 4, 0, {4}},
                                {"expert-1", "draining", 2, 0, {2}},
                                {"expert-2", "unreachable", 9, 0, {9}},
                                {"expert-3", "lost", 9, 0, {9}}}};
  EXPECT_THAT(ShardRowsOf(load, 0), ElementsAre(4, 2));
  load.shards[0].layer_rows.clear();
  EXPECT_THAT(ShardRowsOf(load, 0), IsEmpty());
}

TEST(ExpertLoadTest, DrawsLayersAndShards) {
  EXPECT_EQ(DrawExpertLoad(*ParseExpertLoad(kJson)),
            "   2 | .@| 0.37\n"
            "   3 |@@@| 1.00\n"
            "expert-0 live, 19 rows in 10 s, busy 25 %\n"
            "expert-1 lost, 0 rows in 10 s, busy 0 %\n");
  EXPECT_EQ(DrawExpertLoad({}), "");
}

TEST(HeatTest, NeighboursShareACell) {
  EXPECT_THAT(HeatOf({0, 1, 5, 10}, 10, 10), ElementsAre(0, 1, 5, 10));
  EXPECT_THAT(HeatOf({0, 1, 5, 10}, 2, 10), ElementsAre(1, 10));
  EXPECT_THAT(HeatOf({0, 0, 0}, 2, 10), ElementsAre(0, 0));
  EXPECT_THAT(HeatOf({1, 1'000'000}, 2, 4), ElementsAre(1, 4));  // a row is never cold
  EXPECT_THAT(HeatOf({}, 2, 4), IsEmpty());
  EXPECT_EQ(MeanToMax({}), 0);
  EXPECT_EQ(MeanToMax({0, 4}), 0.5);
  EXPECT_EQ(MeanToMax({3, 3, 3}), 1);
}

}  // namespace
}  // namespace tessera::cli
