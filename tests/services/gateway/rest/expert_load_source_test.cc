#include "services/gateway/rest/expert_load_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/support/fake_clock.h"

namespace tessera::gateway {
namespace {

using ::testing::SizeIs;
using wire::ShardCondition;

constexpr char kJson[] =
    R"({"window_seconds":10,"layers":[{"layer":2,"rows":[17,0,4]}],"shards":[)"
    R"({"id":"expert-0","state":"live","rows":21,"busy_ratio":0.125,"layer_rows":[21]},)"
    R"({"id":"expert-5","state":"lost","rows":0,"busy_ratio":0,"layer_rows":[0]}],"routers":[)"
    R"({"id":"00ff000000000001","generation_tokens":900,"prompt_tokens":512,)"
    R"("sequences_running":3,"sequences_waiting":1},)"
    R"({"id":"ffffffffffffffff","generation_tokens":0,"prompt_tokens":0,)"
    R"("sequences_running":0,"sequences_waiting":0}]})";

wire::ExpertLoad Load() {
  return {.window = absl::Seconds(10),
          .layers = {{LayerIndex{2}, {17, 0, 4}}},
          .shards = {{ShardId{0}, ShardCondition::kLive, 0.125f, {21}},
                     {ShardId{5}, ShardCondition::kLost, 0, {0}}},
          .routers = {{0x00ff000000000001, 900, 512, 3, 1}, {~uint64_t{0}}}};
}

class ExpertLoadSourceTest : public ::testing::Test {
 protected:
  void Ask() {
    source_.Ask([this](const absl::StatusOr<std::string>& json) { told_.push_back(json); });
  }

  FakeClock clock_;
  std::vector<ExpertLoadDone> asked_;  // of the routers
  std::vector<absl::StatusOr<std::string>> told_;
  // Its end tells those who still wait: before the end of what they write to.
  ExpertLoadSource source_{[this](ExpertLoadDone done) { asked_.push_back(std::move(done)); },
                           clock_};
};

TEST_F(ExpertLoadSourceTest, WritesJson) {
  EXPECT_EQ(WriteExpertLoad(Load()), kJson);
  EXPECT_EQ(WriteExpertLoad({}), R"({"window_seconds":0,"layers":[],"shards":[],"routers":[]})");
}

TEST(ExpertLoadWindowTest, ThereIsOne) {
  for (const char* query : {"", "window=10", "window=10s", "a=b&window=10.0", "x=window=3"}) {
    EXPECT_TRUE(CheckLoadWindow(query).ok()) << query;
  }
  for (const char* query : {"window=", "window=60", "window=1m", "window=-10", "a=b&window=nan"}) {
    EXPECT_EQ(CheckLoadWindow(query).code(), absl::StatusCode::kInvalidArgument) << query;
  }
}

TEST_F(ExpertLoadSourceTest, RoutersAreAskedOnceForAllWhoAskMeanwhile) {
  Ask();
  Ask();
  ASSERT_THAT(asked_, SizeIs(1));
  EXPECT_THAT(told_, SizeIs(0));
  asked_[0](Load());
  EXPECT_THAT(told_, SizeIs(2));
  Ask();  // still fresh
  EXPECT_THAT(asked_, SizeIs(1));
  ASSERT_THAT(told_, SizeIs(3));
  for (const auto& json : told_) EXPECT_EQ(*json, kJson);
  clock_.Advance(absl::Milliseconds(201));
  Ask();
  EXPECT_THAT(asked_, SizeIs(2));
}

TEST_F(ExpertLoadSourceTest, AnErrorIsToldAndNotKept) {
  Ask();
  asked_[0](absl::UnavailableError("no router"));
  ASSERT_THAT(told_, SizeIs(1));
  EXPECT_EQ(told_[0].status(), absl::UnavailableError("no router"));
  Ask();
  EXPECT_THAT(asked_, SizeIs(2));
}

TEST_F(ExpertLoadSourceTest, StopEndsWaitingAndLateAnswersFindNobody) {
  Ask();
  source_.Stop();
  ASSERT_THAT(told_, SizeIs(1));
  EXPECT_TRUE(absl::IsUnavailable(told_[0].status()));
  asked_[0](Load());
  EXPECT_THAT(told_, SizeIs(1));
  Ask();
  EXPECT_TRUE(absl::IsUnavailable(told_[1].status()));
  EXPECT_THAT(asked_, SizeIs(1));
}

TEST_F(ExpertLoadSourceTest, AwaitHasALimit) {
  EXPECT_TRUE(absl::IsDeadlineExceeded(source_.Await(absl::Milliseconds(1)).status()));
  asked_[0](Load());  // what came too late serves the next
  EXPECT_EQ(*source_.Await(absl::Milliseconds(1)), kJson);
}

}  // namespace
}  // namespace tessera::gateway
