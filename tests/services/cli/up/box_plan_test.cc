#include "services/cli/up/box_plan.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/temp_folder.h"

namespace tessera::cli {
namespace {

TEST(BoxPlanTest, ChoosesByTheBox) {
  struct Case {
    size_t cpus, nodes, shards, router_threads, shard_threads;
  };
  for (const Case& c : {Case{1, 1, 1, 1, 1}, Case{2, 1, 1, 2, 2}, Case{3, 1, 1, 3, 3},
                        Case{4, 1, 2, 4, 2}, Case{16, 1, 2, 16, 8}, Case{64, 4, 4, 64, 16}}) {
    const auto plan = PlanBox({}, c.cpus, c.nodes);
    ASSERT_TRUE(plan.ok());
    EXPECT_EQ(plan->shards, c.shards) << c.cpus;
    EXPECT_EQ(plan->router_threads, c.router_threads) << c.cpus;
    EXPECT_EQ(plan->shard_threads, c.shard_threads) << c.cpus;
  }
}

TEST(BoxPlanTest, WishesCount) {
  const auto copies = PlanBox({.replicas = 3}, 2, 1);
  ASSERT_TRUE(copies.ok());
  EXPECT_EQ(copies->shards, 3u) << "as many as copies";
  const auto asked = PlanBox({.shards = 7, .replicas = 2, .threads = 5}, 2, 1);
  ASSERT_TRUE(asked.ok());
  EXPECT_EQ(asked->shards, 7u);
  EXPECT_EQ(asked->router_threads, 5u);
  EXPECT_EQ(asked->shard_threads, 5u);
  EXPECT_EQ(PlanBox({.shards = 7}, 2, 1)->shard_threads, 1u);
  EXPECT_EQ(PlanBox({.shards = 2, .replicas = 3}, 2, 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PlanBox({.replicas = 0}, 2, 1).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(BoxPlanTest, ReadsTheNumberOfShards) {
  EXPECT_EQ(*ParseShards("auto"), 0u);
  EXPECT_EQ(*ParseShards("7"), 7u);
  for (const char* text : {"", "0", "-1", "257", "many"}) {
    EXPECT_EQ(ParseShards(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(BoxPlanTest, CountsMemoryNodes) {
  const testing::TempFolder root;
  EXPECT_EQ(NumaNodeCount(root.path() + "/"), 1u);
  for (const char* name : {"node0", "node1", "power"}) {
    std::filesystem::create_directories(root.File("sys/devices/system/node/") + name);
  }
  EXPECT_EQ(NumaNodeCount(root.path() + "/"), 2u);
}

}  // namespace
}  // namespace tessera::cli
