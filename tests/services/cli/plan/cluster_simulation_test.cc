#include "services/cli/plan/cluster_simulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

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
  config.row_bytes = 0;
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
  config.failures = 2;
  config.detect_ms = 5;
  config.return_seconds = 0.05;
  const SimulationResult result = Simulated(config);
  EXPECT_GT(result.retried_calls, 0u);
  EXPECT_GT(result.step_ms_max, result.step_ms_p50 + 4);
  EXPECT_GT(result.tokens_per_second, 0);
}

TEST(ClusterSimulationTest, ErrorsNameTheField) {
  SimulationConfig config = Small();
  router::ZipfRouting routing(config.shape, config.top_k, 1, 1);
  config.shards = 0;
  EXPECT_THAT(Simulate(config, routing).status().message(), HasSubstr("shards"));
  config = Small();
  config.copies = 9;
  EXPECT_THAT(Simulate(config, routing).status().message(), HasSubstr("copies"));
}

}  // namespace
}  // namespace tessera::cli
