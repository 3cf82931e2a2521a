#include "services/router/router_config.h"

#include <gmock/gmock.h>
#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include "common/config/config_file.h"

namespace tessera::router {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<RouterConfig> ConfigWith(const std::vector<std::string>& assignments) {
  const auto message = DefaultRouterMessage();
  for (const std::string& assignment : assignments) {
    const absl::Status status = SetConfigField(assignment, *message);
    EXPECT_TRUE(status.ok()) << status;
  }
  return ToRouterConfig(*message);
}

TEST(RouterConfigTest, OnlyTheModelMustBeGiven) {
  const auto config = ConfigWith({"model=m"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->grpc_listen, "127.0.0.1:8010");
  EXPECT_EQ(config->transport, "ucx");
  EXPECT_EQ(config->capacity.sequences_max, CapacityConfig{}.sequences_max);
  EXPECT_EQ(config->dispatch.homeless_wait, DispatchConfig{}.homeless_wait);
  EXPECT_EQ(config->idle_poll, IdlePolling::kAuto);
  EXPECT_EQ(config->experts_wait_max, absl::Seconds(60));
}

TEST(RouterConfigTest, ExpertsMoveUnlessItIsSaidThatTheyDoNot) {
  EXPECT_TRUE(ConfigWith({"model=m"})->balance.moves);
  EXPECT_FALSE(ConfigWith({"model=m", "balance.enabled=false"})->balance.moves);
}

TEST(RouterConfigTest, WhatIsSaidArrives) {
  const auto config =
      ConfigWith({"model=m", "strict=true", "kv_bytes=1000", "prefix_cache=false",
                  "compute.dense_dtype=q8", "membership.transport=grpc", "dispatch.attempts_max=3",
                  "dispatch.idle_poll=off", "drain_seconds=0.5"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->dispatch.strict);
  EXPECT_EQ(config->capacity.kv_bytes, 1000u);
  EXPECT_FALSE(config->capacity.prefix_cache);
  EXPECT_EQ(config->compute.dense_dtype, "q8");
  EXPECT_EQ(config->transport, "grpc");
  EXPECT_EQ(config->dispatch.attempts_max, 3u);
  EXPECT_EQ(config->idle_poll, IdlePolling::kOff);
  EXPECT_EQ(config->drain_max, absl::Milliseconds(500));
}

TEST(RouterConfigTest, TheOneThatIsItsOwnLeaderLeads) {
  const auto leader = ConfigWith({"model=m", "leader=r-0:1", "grpc_advertise=r-0:1"});
  ASSERT_TRUE(leader.ok()) << leader.status();
  EXPECT_EQ(leader->leader, "");
  const auto follower = ConfigWith({"model=m", "leader=r-0:1", "grpc_advertise=r-1:1"});
  ASSERT_TRUE(follower.ok()) << follower.status();
  EXPECT_EQ(follower->leader, "r-0:1");
}

TEST(RouterConfigTest, ErrorsNameTheField) {
  const std::pair<const char*, const char*> cases[] = {
      {"model=", "model is empty"},
      {"sequences_max=0", "sequences_max is 0"},
      {"waiting_max=0", "waiting_max is 0"},
      {"batch_tokens_max=0", "batch_tokens_max is 0"},
      {"prefill_chunk_max=0", "prefill_chunk_max is 0"},
      {"logits_rows_max=3", "logits_rows_max is 3"},
      {"drain_seconds=-1", "drain_seconds is -1"},
      {"experts_wait_max_seconds=-1", "experts_wait_max_seconds"},
      {"dispatch.call_timeout_seconds=0", "call_timeout_seconds"},
      {"dispatch.attempts_max=0", "attempts_max"},
      {"dispatch.idle_poll=maybe", "expected auto, on or off"},
      {"membership.transport=pigeon", "pigeon"},
      {"membership.credits=0", "credits is 0"},
      {"membership.rows_max=0", "rows_max is 0"},
      {"membership.copies_wanted=0", "copies_wanted is 0"},
      {"membership.silence_max_seconds=0.1", "silence_max_seconds is 0.1"},
      {"balance.interval_seconds=0", "balance.interval_seconds is 0"},
      {"balance.threshold=1.5", "balance.threshold is 1.5"},
      {"balance.target=-1", "balance.target is -1"},
      {"balance.window_steps=0", "balance.window_steps is 0"},
      // With the default of the other one.
      {"balance.steps_min=1001",
       "balance.steps_min is 1001, expected at most balance.window_steps, 1000"},
      {"balance.window_steps=199",
       "balance.steps_min is 200, expected at most balance.window_steps, 199"},
      {"balance.slots_kept_free=2", "balance.slots_kept_free is 2"},
      {"balance.shards_max=0", "balance.shards_max is 0"},
  };
  for (const auto& [assignment, word] : cases) {
    const auto config = ConfigWith({"model=m", assignment});
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << assignment;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(word)) << assignment;
  }
}

}  // namespace
}  // namespace tessera::router
