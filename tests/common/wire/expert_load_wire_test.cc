#include "common/wire/expert_load_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tessera/v1/observation.pb.h"

namespace tessera::wire {
namespace {

using ::testing::HasSubstr;

ExpertLoad Sample() {
  return {.window = absl::Seconds(10),
          .layers = {{LayerIndex{2}, {1, 2, 3}}, {LayerIndex{3}, {4, 5, 1ull << 40}}},
          .shards = {{ShardId{0}, ShardCondition::kLive, 0.5f, {6, 7}},
                     {ShardId{9}, ShardCondition::kLost, 0, {0, 0}}},
          .routers = {{.process_id = ~uint64_t{0} - 6,
                       .generation_tokens = 1ull << 41,
                       .prompt_tokens = 5,
                       .sequences_running = 3,
                       .sequences_waiting = 2}}};
}

v1::ExpertLoadReply Message() {
  v1::ExpertLoadReply message;
  ToProto(Sample(), message);
  return message;
}

std::string ErrorOf(const v1::ExpertLoadReply& message) {
  const auto load = ToExpertLoad(message);
  EXPECT_EQ(load.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(load.status().message());
}

TEST(ExpertLoadWireTest, ComesBackAsItWas) {
  const auto load = ToExpertLoad(Message());
  ASSERT_TRUE(load.ok()) << load.status();
  EXPECT_EQ(*load, Sample());
  EXPECT_EQ(*ToExpertLoad(v1::ExpertLoadReply()), ExpertLoad());
}

TEST(ExpertLoadWireTest, RefusesWhatDoesNotFit) {
  v1::ExpertLoadReply message = Message();
  message.mutable_layers(1)->set_layer(2);
  EXPECT_THAT(ErrorOf(message), HasSubstr("layer 2 with 3 experts follows layer 2"));
  message = Message();
  message.mutable_layers(1)->mutable_rows()->RemoveLast();
  EXPECT_THAT(ErrorOf(message), HasSubstr("with 2 experts follows layer 2 with 3"));
  message = Message();
  message.mutable_shards(0)->mutable_layer_rows()->RemoveLast();
  EXPECT_THAT(ErrorOf(message), HasSubstr("shard 0 has rows of 1 layers, expected 2"));
  message = Message();
  message.mutable_shards(1)->set_shard_id(0);
  EXPECT_THAT(ErrorOf(message), HasSubstr("shard 0 follows shard 0"));
  message = Message();
  message.mutable_shards(1)->set_condition(v1::SHARD_CONDITION_UNSPECIFIED);
  EXPECT_THAT(ErrorOf(message), HasSubstr("expected 1..5"));
}

TEST(ExpertLoadWireTest, NamesOfConditions) {
  EXPECT_EQ(NameOf(ShardCondition::kLive), "live");
  EXPECT_EQ(NameOf(ShardCondition::kLoading), "loading");
  EXPECT_EQ(NameOf(ShardCondition::kDraining), "draining");
  EXPECT_EQ(NameOf(ShardCondition::kUnreachable), "unreachable");
  EXPECT_EQ(NameOf(ShardCondition::kLost), "lost");
}

}  // namespace
}  // namespace tessera::wire
