#include "services/cli/up/cluster_scaling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <vector>

namespace tessera::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Shards that are ready, drained and gone when the test says so.
class FakeShards final : public ScalableShards {
 public:
  absl::Status StartShard(size_t shard) override {
    if (refused.contains(shard)) return absl::UnavailableError("no memory");
    running.insert(shard);
    return absl::OkStatus();
  }
  bool IsReady(size_t shard) const override { return ready.contains(shard); }
  std::optional<absl::Status> WhyGivenUp(size_t shard) override {
    const auto it = given_up.find(shard);
    if (it == given_up.end()) return std::nullopt;
    running.erase(shard);
    return it->second;
  }
  void BeginDrain(size_t shard) override { drained.push_back(shard); }
  std::optional<absl::Status> DrainEnd() override { return std::exchange(drain_end, std::nullopt); }
  void StopShard(size_t shard) override { stopped.push_back(shard); }
  bool IsGone(size_t shard) const override { return !running.contains(shard); }

  std::set<size_t> running = {0, 1};
  std::set<size_t> ready;
  std::set<size_t> refused;
  std::map<size_t, absl::Status> given_up;
  std::vector<size_t> drained;
  std::optional<absl::Status> drain_end;
  std::vector<size_t> stopped;
};

class ClusterScalingTest : public ::testing::Test {
 protected:
  absl::Status Begin(size_t count, size_t wanted) {
    return scaling_.Begin(count, wanted, [this](const std::string& text) { said_ += text + "\n"; });
  }
  FakeShards shards_;
  ClusterScaling scaling_{shards_};
  std::string said_;
};

TEST_F(ClusterScalingTest, MoreShardsStartTogetherAndAllMustBeReady) {
  ASSERT_TRUE(Begin(2, 4).ok());
  EXPECT_THAT(shards_.running, ElementsAre(0, 1, 2, 3));
  shards_.ready = {3};
  EXPECT_EQ(scaling_.Advance(), std::nullopt);
  EXPECT_THAT(said_, HasSubstr("1 of 2 new shards are ready"));
  shards_.ready = {2, 3};
  EXPECT_EQ(scaling_.Advance(), absl::OkStatus());
  EXPECT_EQ(scaling_.shard_count(), 4u);
  EXPECT_FALSE(scaling_.busy());
  EXPECT_TRUE(shards_.drained.empty());
}

TEST_F(ClusterScalingTest, AFailedStartChangesNothing) {
  ASSERT_TRUE(Begin(2, 4).ok());
  shards_.ready = {2};
  shards_.given_up[3] = absl::UnavailableError("expert-3 does not start");
  EXPECT_EQ(scaling_.Advance(), std::nullopt);  // expert-2 still stops
  EXPECT_THAT(shards_.stopped, ElementsAre(2, 3));
  shards_.running.erase(2);
  const std::optional<absl::Status> end = scaling_.Advance();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(end->message(), HasSubstr("still 2 shards"));
  EXPECT_EQ(scaling_.shard_count(), 2u);
}

TEST_F(ClusterScalingTest, AStartThatIsRefusedAtOnceIsUndone) {
  shards_.refused = {3};
  ASSERT_TRUE(Begin(2, 5).ok());
  shards_.running.erase(2);
  const std::optional<absl::Status> end = scaling_.Advance();
  ASSERT_TRUE(end.has_value());
  EXPECT_THAT(end->message(), HasSubstr("no memory"));
  EXPECT_EQ(scaling_.shard_count(), 2u);
}

TEST_F(ClusterScalingTest, FewerShardsAreDrainedOneAfterTheOtherFromTheTop) {
  shards_.running = {0, 1, 2, 3};
  ASSERT_TRUE(Begin(4, 2).ok());
  EXPECT_THAT(shards_.drained, ElementsAre(3));
  EXPECT_EQ(scaling_.Advance(), std::nullopt);
  EXPECT_TRUE(shards_.stopped.empty());  // not before it is drained
  shards_.drain_end = absl::OkStatus();
  EXPECT_EQ(scaling_.Advance(), std::nullopt);
  EXPECT_THAT(shards_.stopped, ElementsAre(3));
  shards_.running.erase(3);
  EXPECT_EQ(scaling_.Advance(), std::nullopt);
  EXPECT_THAT(shards_.drained, ElementsAre(3, 2));
  shards_.running.erase(2);
  shards_.drain_end = absl::NotFoundError("nobody knows it");  // nothing to be missed
  EXPECT_EQ(scaling_.Advance(), absl::OkStatus());
  EXPECT_EQ(scaling_.shard_count(), 2u);
}

TEST_F(ClusterScalingTest, AShardThatCannotBeDrainedStays) {
  shards_.running = {0, 1, 2};
  ASSERT_TRUE(Begin(3, 1).ok());
  shards_.drain_end = absl::ResourceExhaustedError("no other shard has a slot");
  const std::optional<absl::Status> end = scaling_.Advance();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(shards_.stopped.empty());
  EXPECT_EQ(scaling_.shard_count(), 3u);
}

TEST_F(ClusterScalingTest, OneAtATimeAndOnlyPossibleNumbers) {
  EXPECT_EQ(Begin(2, 0).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Begin(2, 257).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(Begin(2, 3).ok());
  EXPECT_EQ(Begin(2, 4).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(ClusterScalingTest, TheNumberThereIsIsDoneAtOnce) {
  ASSERT_TRUE(Begin(2, 2).ok());
  EXPECT_EQ(scaling_.Advance(), absl::OkStatus());
  EXPECT_EQ(shards_.running.size(), 2u);
}

}  // namespace
}  // namespace tessera::cli
