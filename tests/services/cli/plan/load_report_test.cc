#include "services/cli/plan/load_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::cli {
namespace {

using ::testing::HasSubstr;

constexpr char kReport[] =
    R"({"window_seconds":10,"layers":[{"layer":2,"rows":[900,10,10,10,10,10,10,40]},)"
    R"({"layer":3,"rows":[125,125,125,125,125,125,125,125]}],)"
    R"("shards":[{"id":"expert-0","state":"live","rows":930,"busy_ratio":0.9},)"
    R"({"id":"expert-1","state":"live","rows":70,"busy_ratio":0.1},)"
    R"({"id":"expert-2","state":"draining","rows":0,"busy_ratio":null}]})";

TEST(LoadReportTest, IsReadWhole) {
  const auto report = ReadLoadReport(kReport);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->window_seconds, 10);
  ASSERT_EQ(report->layers.size(), 2u);
  EXPECT_EQ(report->layers[0].layer, 2u);
  EXPECT_EQ(report->layers[0].rows[0], 900);
  ASSERT_EQ(report->shards.size(), 3u);
  EXPECT_EQ(report->shards[1].id, "expert-1");
  EXPECT_EQ(report->shards[2].state, "draining");
}

TEST(LoadReportTest, ThePlanIsForTheLiveShards) {
  const auto report = ReadLoadReport(kReport);
  ASSERT_TRUE(report.ok()) << report.status();
  const auto plan = PlanFor(*report, {.spare_slots = 0.5});
  ASSERT_TRUE(plan.ok()) << plan.status();
  // Layer 2: 500 of 930; layer 3 is even.
  EXPECT_NEAR(plan->before, (500.0 / 930 + 1) / 2, 1e-6);
  EXPECT_GT(plan->after, 0.97);
  const std::string text = DescribePlan(*plan, 1);
  EXPECT_THAT(text, HasSubstr("0.769 now"));
  EXPECT_THAT(text, HasSubstr("layer 2 expert 0"));
}

TEST(LoadReportTest, ShardsKeepTheirNumbers) {
  auto report = ReadLoadReport(kReport);
  ASSERT_TRUE(report.ok()) << report.status();
  report->shards[0].state = "lost";
  report->shards[2].state = "live";
  report->shards.push_back({.id = "expert-10", .state = "live"});
  const auto plan = PlanFor(*report, {.spare_slots = 1});
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_FALSE(plan->moves.empty());
  bool to_last = false;
  for (const auto& move : plan->moves) {
    if (move.kind == router::BalanceMove::Kind::kDrop) continue;
    EXPECT_THAT(ToIndex(move.to), ::testing::AnyOf(1, 2, 10));
    to_last = to_last || ToIndex(move.to) == 10;
  }
  EXPECT_TRUE(to_last);
  EXPECT_THAT(DescribePlan(*plan, 100), HasSubstr("to expert-10\n"));
  report->shards.back().id = "expert-2";
  EXPECT_THAT(PlanFor(*report, {}).status().message(), HasSubstr("expert-2 is named twice"));
  report->shards.back().id = "left";
  EXPECT_THAT(PlanFor(*report, {}).status().message(), HasSubstr("'left'"));
}

TEST(LoadReportTest, NothingToBalanceIsSaid) {
  auto report = ReadLoadReport(kReport);
  ASSERT_TRUE(report.ok()) << report.status();
  for (auto& layer : report->layers) layer.rows.assign(8, 0);
  EXPECT_THAT(PlanFor(*report, {}).status().message(), HasSubstr("no rows"));
  report->shards.clear();
  EXPECT_THAT(PlanFor(*report, {}).status().message(), HasSubstr("0 live shards"));
}

TEST(LoadReportTest, WrongReportsAreRefused) {
  for (const char* text :
       {"", "[]", R"({"layers":[]})", R"({"layers":[{"layer":1,"rows":[]}],"shards":[]})",
        R"({"layers":[{"layer":1,"rows":[-1]}],"shards":[]})",
        R"({"layers":[{"layer":1,"rows":[1]},{"layer":1,"rows":[1]}],"shards":[]})",
        R"({"layers":[{"layer":1,"rows":[1]},{"layer":2,"rows":[1,2]}],"shards":[]})",
        R"({"layers":[],"shards":[{"id":7,"state":"live"}]})"}) {
    EXPECT_EQ(ReadLoadReport(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(LoadReportTest, ARoutersOwnBalanceIsDescribed) {
  const auto text =
      DescribeBalance(R"({"verdict":"frozen","balance":0.5,"planned":0.9,"loads":1,)"
                      R"("moves":[{"kind":"move","layer":2,"expert":7,"from":1,"to":0}]})",
                      10);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, HasSubstr("frozen"));
  EXPECT_THAT(*text, HasSubstr("move layer 2 expert 7 from expert-1 to expert-0"));
  EXPECT_EQ(DescribeBalance("{}", 10).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tessera::cli
