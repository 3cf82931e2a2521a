#include "services/gateway/upstream/load_gathering.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace tessera::gateway {
namespace {

using wire::ExpertLoad;
using wire::ShardCondition;

ExpertLoad First() {
  return {.window = absl::Seconds(10),
          .layers = {{LayerIndex{1}, {1, 2}}, {LayerIndex{2}, {3, 0}}},
          .shards = {{ShardId{0}, ShardCondition::kLive, 0.5f, {2, 1}},
                     {ShardId{2}, ShardCondition::kLive, 0.1f, {1, 2}}},
          .routers = {{.process_id = 9, .generation_tokens = 100}}};
}

ExpertLoad Second() {
  return {.window = absl::Seconds(10),
          .layers = {{LayerIndex{1}, {10, 20}}, {LayerIndex{2}, {30, 40}}},
          .shards = {{ShardId{1}, ShardCondition::kDraining, 0.9f, {30, 0}},
                     {ShardId{2}, ShardCondition::kLost, 0, {0, 70}}},
          .routers = {{.process_id = 4, .generation_tokens = 7, .sequences_running = 2}}};
}

ExpertLoad Sum() {
  return {.window = absl::Seconds(10),
          .layers = {{LayerIndex{1}, {11, 22}}, {LayerIndex{2}, {33, 40}}},
          .shards = {{ShardId{0}, ShardCondition::kLive, 0.5f, {2, 1}},
                     {ShardId{1}, ShardCondition::kDraining, 0.9f, {30, 0}},
                     {ShardId{2}, ShardCondition::kLost, 0.1f, {1, 72}}},
          .routers = {{.process_id = 4, .generation_tokens = 7, .sequences_running = 2},
                      {.process_id = 9, .generation_tokens = 100}}};
}

TEST(LoadGatheringTest, AddsRoutersUp) {
  ExpertLoad sum = First();
  EXPECT_TRUE(AddExpertLoad(Second(), sum));
  EXPECT_EQ(sum, Sum());
  sum = Second();
  EXPECT_TRUE(AddExpertLoad(First(), sum));
  EXPECT_EQ(sum, Sum());
}

TEST(LoadGatheringTest, ARouterOfTwoAddressesIsOne) {
  ExpertLoad sum = First();
  ExpertLoad other = Second();
  other.routers = sum.routers;
  EXPECT_TRUE(AddExpertLoad(other, sum));
  EXPECT_EQ(sum.routers, First().routers);
}

TEST(LoadGatheringTest, AnotherModelDoesNotCount) {
  ExpertLoad sum = First();
  ExpertLoad other = Second();
  other.layers[1].rows.push_back(5);
  EXPECT_FALSE(AddExpertLoad(other, sum));
  EXPECT_EQ(sum, First());
  other = Second();
  other.layers.pop_back();
  EXPECT_FALSE(AddExpertLoad(other, sum));
  EXPECT_EQ(sum, First());
}

TEST(LoadGatheringTest, WaitsForAllAndToleratesErrors) {
  std::vector<absl::StatusOr<ExpertLoad>> told;
  LoadGathering gathering(3, [&](absl::StatusOr<ExpertLoad> load) { told.push_back(load); });
  gathering.Add(First());
  gathering.Add(absl::DeadlineExceededError("slow"));
  EXPECT_TRUE(told.empty());
  gathering.Add(Second());
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(*told[0], Sum());

  LoadGathering in_vain(2, [&](absl::StatusOr<ExpertLoad> load) { told.push_back(load); });
  in_vain.Add(absl::UnavailableError("first"));
  in_vain.Add(absl::UnimplementedError("last"));
  EXPECT_EQ(told[1].status(), absl::UnimplementedError("last"));
}

}  // namespace
}  // namespace tessera::gateway
