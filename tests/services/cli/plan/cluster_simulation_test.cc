#include "services/cli/plan/cluster_simulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

#include "services/cli/plan/simulated_balancer.h"
#include "services/cli/plan/simulated_shards.h"
#include "services/router/cluster/balancer.h"

namespace tessera::cli {
namespace {

using ::testing::HasSubstr;

SimulationConfig Small() {
  SimulationConfig config;
  config.shape = {.layer_count = 4, .expert_count = 32};
  config.shards = 4;
  config.rows = 32;
  config.steps = 30;
  config.warmup_steps = 60;
  config.spare_slots = 0.5;
  config.unit_bytes = 1e6;
  return config;
}

SimulationConfig OneShardOneRow() {
  SimulationConfig config = Small();
  config.shards = 1;
  config.spare_slots = 0;
  config.rows = 1;
  config.row_bytes_up = config.row_bytes_down = 0;
  config.balance = false;
  return config;
}

SimulationResult Simulated(const SimulationConfig& config, double exponent = 1.0) {
  router::ZipfRouting routing(config.shape, config.top_k, exponent, config.seed);
  auto result = Simulate(config, routing);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *result : SimulationResult{};
}

TEST(ClusterSimulationTest, OneShardTakesTheSumOfItsParts) {
  SimulationConfig config = OneShardOneRow();
  // A row touches four experts: 100 + 10 + (20 + 4 * 60 + 4 * 2) + 10 us a layer, four layers.
  const SimulationResult result = Simulated(config);
  EXPECT_NEAR(result.step_ms_p50, 4 * 0.388, 1e-9);
  EXPECT_NEAR(result.tokens_per_second, 1e3 / (4 * 0.388), 25);
  EXPECT_EQ(result.window_balance, 1);
}

TEST(ClusterSimulationTest, RowsGoAndAnswersComeOverALink) {
  SimulationConfig config = OneShardOneRow();
  config.link_gigabits = 1;
  config.row_bytes_up = 1000;    // 8 us
  config.row_bytes_down = 4000;  // 32 us
  EXPECT_NEAR(Simulated(config).step_ms_p50, 4 * (0.388 + 0.040), 1e-9);
}

// Two routers share a trace whose steps have five rows, then one: three on average.
TEST(ClusterSimulationTest, TokensAreTheRowsOfATrace) {
  SimulationConfig config = OneShardOneRow();
  config.shape = {.layer_count = 2, .expert_count = 8};
  config.top_k = 1;
  config.rows = 100;  // not what the trace has
  config.steps = 40;
  router::RoutingTrace trace;
  trace.shape = config.shape;
  trace.top_k = 1;
  for (const std::vector<uint32_t>& experts : {std::vector<uint32_t>{0, 1, 2, 3, 4}, {5}}) {
    for (uint32_t l = 0; l < 2; ++l) {
      trace.steps.push_back({LayerIndex{l}, static_cast<uint32_t>(experts.size()), experts});
    }
  }
  for (const size_t routers : {1, 2}) {
    config.routers = routers;
    router::TraceRouting routing(trace);
    const auto result = Simulate(config, routing);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_NEAR(result->tokens_per_second, 3 * result->steps_per_second,
                1e-3 * result->tokens_per_second)
        << routers;
    EXPECT_NEAR(result->steps_per_second * result->seconds, static_cast<double>(40 * routers), 1);
  }
  // What gateways and clients do is for as many rows: on one processor it takes its time.
  config.routers = 1;
  config.processors = 1;
  config.others_us = 0;
  router::TraceRouting alone(trace);
  const auto without = Simulate(config, alone);
  config.others_us = 500;
  router::TraceRouting again(trace);
  const auto with = Simulate(config, again);
  ASSERT_TRUE(without.ok() && with.ok());
  EXPECT_NEAR(1 / with->steps_per_second, 1 / without->steps_per_second + 3 * 500e-6, 60e-6);
}

TEST(ClusterSimulationTest, ProcessorsAreShared) {
  SimulationConfig config = OneShardOneRow();
  config.others_us = 200;
  config.post_us = 5;
  config.step_us = 50;
  const double alone = 4 * (0.388 + 0.005) + 0.05;
  for (const size_t processors : {0u, 2u}) {  // room for what a client does meanwhile
    config.processors = processors;
    EXPECT_NEAR(Simulated(config).step_ms_p50, alone, 1e-9) << processors;
  }
  config.processors = 1;
  EXPECT_NEAR(Simulated(config).step_ms_p50, alone + 0.2, 1e-9);
  // Two routers get no more out of one processor than it has.
  config.others_us = 0;
  config.routers = 2;
  const double serial = 1e3 / (4 * (0.1 + 0.005 + 0.268) + 0.05);
  EXPECT_LT(Simulated(config).tokens_per_second, 1.15 * serial)
      << "calls of one layer share call_us";
  config.processors = 4;
  EXPECT_GT(Simulated(config).tokens_per_second, 1.2 * serial);
}

TEST(ClusterSimulationTest, FiveHundredTwelveShardsAndEightRouters) {
  SimulationConfig config;
  config.shape = {.layer_count = 6, .expert_count = 256};
  config.shards = 512;
  config.routers = 8;
  config.spare_slots = 1;
  config.steps = 10;
  config.warmup_steps = 20;
  config.failures = 2;
  config.detect_ms = 5;
  config.return_seconds = 0.02;
  config.unit_bytes = 1e6;
  const SimulationResult with = Simulated(config, 0.9);
  config.balance = false;
  const SimulationResult without = Simulated(config, 0.9);
  std::printf("512 shards: balance %.3f instead of %.3f, %zu loads\n", with.window_balance,
              without.window_balance, with.loads);
  EXPECT_GT(with.window_balance, without.window_balance);
  EXPECT_GT(with.loads, 0u);
  EXPECT_EQ(with.died_shards, 2u);
  EXPECT_EQ(with.roomless_experts, 0u);
  EXPECT_EQ(without.roomless_experts, 0u);
}

TEST(ClusterSimulationTest, TheSameSeedGivesTheSameRun) {
  const SimulationResult first = Simulated(Small());
  const SimulationResult again = Simulated(Small());
  EXPECT_EQ(first.tokens_per_second, again.tokens_per_second);
  EXPECT_EQ(first.window_balance, again.window_balance);
}

TEST(ClusterSimulationTest, BalancingASkewedLoadPays) {
  SimulationConfig config = Small();
  config.touch_us = 4;  // as in prefill: rows decide
  config.row_us = 20;
  const SimulationResult with = Simulated(config);
  config.balance = false;
  const SimulationResult without = Simulated(config);
  std::printf("balance of all steps %.3f instead of %.3f, of each step %.3f instead of %.3f\n",
              with.window_balance, without.window_balance, with.step_balance, without.step_balance);
  std::printf("promised %.3f, %zu loads\n", with.planned, with.loads);
  EXPECT_GT(with.window_balance, without.window_balance + 0.1);
  EXPECT_GT(with.tokens_per_second, without.tokens_per_second);
  EXPECT_GT(with.loads, 0u);
  EXPECT_LE(with.busy_max, 1.0 + 1e-9);
}

TEST(ClusterSimulationTest, SeveralRoutersShareTheShards) {
  SimulationConfig config = Small();
  const SimulationResult one = Simulated(config);
  config.routers = 4;
  const SimulationResult four = Simulated(config);
  EXPECT_GT(four.tokens_per_second, 1.2 * one.tokens_per_second);
  EXPECT_GT(four.busy_mean, one.busy_mean);
}

TEST(ClusterSimulationTest, DeadShardsCostTimeAndNoStep) {
  SimulationConfig config = Small();
  config.steps = 200;
  config.spare_slots = 1;  // three shards have room for what the fourth alone held
  config.failures = 2;
  config.detect_ms = 5;
  config.return_seconds = 0.05;
  const SimulationResult result = Simulated(config);
  EXPECT_GT(result.retried_calls, 0u);
  EXPECT_GT(result.step_ms_max, result.step_ms_p50 + 4);
  EXPECT_GT(result.tokens_per_second, 0);
  EXPECT_EQ(result.died_shards, 2u);
  EXPECT_GT(result.restored_experts, 0u);
  EXPECT_EQ(result.roomless_experts, 0u);
}

TEST(ClusterSimulationTest, AFailureMeetsTheNextShardThatLives) {
  SimulationConfig config = Small();
  config.shards = 7;
  config.spare_slots = 7;  // one shard has room for all
  config.failures = 6;
  config.detect_ms = 5;
  config.return_seconds = 1e6;  // never
  const SimulationResult most = Simulated(config);
  EXPECT_EQ(most.died_shards, 6u);
  EXPECT_EQ(most.roomless_experts, 0u);
  config.failures = 9;
  EXPECT_EQ(Simulated(config).died_shards, 6u) << "the last one stays";
}

TEST(ClusterSimulationTest, WhereNobodyHasRoomStepsWait) {
  SimulationConfig config = Small();
  config.spare_slots = 0;
  config.balance = false;
  config.failures = 1;
  config.detect_ms = 5;
  config.return_seconds = 0.05;
  EXPECT_GT(Simulated(config).roomless_experts, 0u);
  config.return_seconds = 1e6;  // the step waits, and does not ask again and again
  const SimulationResult late = Simulated(config);
  EXPECT_GT(late.roomless_experts, 0u);
  EXPECT_LT(late.retried_calls, 50u);
  EXPECT_GT(late.seconds, 1e6);
}

// What fits is read at once, and for the rest the step waits.
TEST(ClusterSimulationTest, WhereThereIsRoomForAFewTheyAreRead) {
  SimulationConfig config = Small();
  config.shape.layer_count = 1;
  config.spare_slots = 0.1;  // a slot or so on each of the others
  config.balance = false;
  config.failures = 1;
  config.detect_ms = 5;
  config.return_seconds = 0.5;
  const SimulationResult result = Simulated(config);
  EXPECT_GT(result.restored_experts, 0u);
  EXPECT_GT(result.roomless_experts, 0u);
  EXPECT_LE(result.restored_experts + result.roomless_experts, config.shape.expert_count);
}

TEST(ClusterSimulationTest, TimesWithoutEndAreRefused) {
  const auto refused = [](double SimulationConfig::*field, double value, const char* name) {
    SimulationConfig config = Small();
    config.*field = value;
    router::ZipfRouting routing(config.shape, config.top_k, 1.0, config.seed);
    const absl::Status status = Simulate(config, routing).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name << " " << value;
    EXPECT_THAT(std::string(status.message()), ::testing::StartsWith(name));
  };
  for (const double never : {std::numeric_limits<double>::infinity(), std::nan(""), -1.0}) {
    refused(&SimulationConfig::return_seconds, never, "return_seconds: ");
    refused(&SimulationConfig::touch_us, never, "touch_us: ");
    refused(&SimulationConfig::unit_bytes, never, "unit_bytes: ");
  }
  refused(&SimulationConfig::link_gigabits, 1e-320, "link_gigabits: ");
  refused(&SimulationConfig::load_bytes_per_second, 1e-300, "load_bytes_per_second: ");
}

// Moves take the time that reading takes, from the first one on.
TEST(ClusterSimulationTest, ExpertsLandWhenTheyAreRead) {
  SimulationConfig config = Small();
  config.shape.layer_count = 1;
  config.shards = 2;
  config.warmup_steps = 200;
  config.steps = 1;
  config.loads_max = 1;
  config.touch_us = 4;
  config.row_us = 20;
  config.unit_bytes = 2e9;  // two seconds
  router::ZipfRouting routing(config.shape, config.top_k, 1.0, config.seed);
  SimulatedShards shards(config.shape, {LayerIndex{0}}, 2, 1, 24);
  SimulatedBalancer balancer(config, {LayerIndex{0}});
  for (int step = 0; step < 200; ++step) balancer.Count(LayerIndex{0}, routing.Next({}, 32));
  EXPECT_TRUE(balancer.idle());
  balancer.Plan(shards);
  ASSERT_FALSE(balancer.idle());
  EXPECT_EQ(balancer.loads(), 1u);
  EXPECT_DOUBLE_EQ(balancer.BatchUs(), 2e6);
  balancer.LandBatch(shards);
  EXPECT_TRUE(balancer.idle());
}

TEST(ClusterSimulationTest, ARoundLandsInSixteenEqualBatches) {
  SimulationConfig config;
  config.shape = {.layer_count = 8, .expert_count = 64};
  config.shards = 8;
  config.slots_kept_free = 0.02;
  config.touch_us = 4;
  config.row_us = 20;
  std::vector<LayerIndex> layers;
  for (uint32_t l = 0; l < 8; ++l) layers.push_back(LayerIndex{l});
  SimulatedShards shards(config.shape, layers, 8, 1, 96);
  SimulatedBalancer balancer(config, layers);
  router::ZipfRouting routing(config.shape, config.top_k, 1.0, 1);
  for (int step = 0; step < 200; ++step) {
    for (const LayerIndex layer : layers) balancer.Count(layer, routing.Next(layer, 64));
  }
  balancer.Plan(shards);
  ASSERT_GT(balancer.loads(), 16u);
  const auto held = [&shards] {
    size_t count = 0;
    for (size_t s = 0; s < shards.size(); ++s) {
      count += static_cast<size_t>(std::ranges::count_if(
          shards[s].slots, [](const auto& slot) { return slot.has_value(); }));
    }
    return count;
  };
  const size_t before = held();
  size_t batches = 0;
  for (; !balancer.idle(); ++batches) {
    EXPECT_GT(balancer.BatchUs(), 0);
    balancer.LandBatch(shards);
  }
  EXPECT_GE(batches, 9u);  // ceil(n / ceil(n / 16))
  EXPECT_LE(batches, 16u);
  EXPECT_GT(held(), before);
}

TEST(ClusterSimulationTest, SlotsAreKeptFreeAsARouterKeepsThem) {
  SimulationConfig config = Small();
  EXPECT_EQ(config.slots_kept_free, router::BalancerConfig{}.slots_kept_free);
  config.shards = 16;
  config.spare_slots = 0.125;
  const SimulationResult with = Simulated(config);
  config.slots_kept_free = 0;
  EXPECT_GT(Simulated(config).planned, with.planned + 0.02);
}

TEST(ClusterSimulationTest, ErrorsNameTheField) {
  SimulationConfig config = Small();
  router::ZipfRouting routing(config.shape, config.top_k, 1, 1);
  config.shards = 0;
  EXPECT_THAT(Simulate(config, routing).status().message(), HasSubstr("shards"));
  config = Small();
  config.copies = 9;
  EXPECT_THAT(Simulate(config, routing).status().message(), HasSubstr("copies"));
  config = Small();
  config.slots_kept_free = 1.5;
  EXPECT_THAT(Simulate(config, routing).status().message(), HasSubstr("slots_kept_free"));
}

}  // namespace
}  // namespace tessera::cli
