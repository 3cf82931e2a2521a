#include "services/cli/plan/capacity_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"

namespace tessera::cli {
namespace {

using ::testing::HasSubstr;

// Trinity Large's shape.
ModelSpec Large() {
  ModelSpec spec;
  spec.d_model = 3072;
  spec.layer_count = 60;
  spec.dense_layer_count = 6;
  spec.query_heads = 48;
  spec.kv_heads = 8;
  spec.head_dim = 128;
  spec.dense_width = 12288;
  spec.expert_width = 3072;
  spec.expert_count = 256;
  spec.top_k = 4;
  spec.shared_expert_count = 1;
  spec.vocab = 200192;
  spec.context_max = 131072;
  spec.sliding_window = 4096;
  for (size_t l = 0; l < spec.layer_count; ++l) {
    spec.layer_kinds.push_back(l % 4 == 3 ? LayerKind::kFull : LayerKind::kSliding);
  }
  return spec;
}

CapacityWishes Wishes() {
  CapacityWishes wishes;
  wishes.router = wishes.shard = *FindDevice("h100");
  return wishes;
}

TEST(CapacityPlanTest, TouchedExpertsAreTheExpectationOfDistinctOnes) {
  EXPECT_NEAR(ExpertsTouched(1, 4, 256), 4, 1e-9);
  EXPECT_NEAR(ExpertsTouched(8, 4, 256), 30.3, 0.1);
  EXPECT_NEAR(ExpertsTouched(128, 4, 256), 222, 1);
}

TEST(CapacityPlanTest, ALargeModelFitsAndTheArithmeticIsShown) {
  const auto plan = PlanCapacity(Large(), Wishes());
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE(plan->feasible);
  EXPECT_LE(plan->step_ms, 50);
  EXPECT_LE(plan->shard_gb, 72);
  // 782 GB of experts with an eighth in addition on shards of 72 GB.
  EXPECT_GE(plan->shards, 13u);
  const std::string text = absl::StrJoin(plan->arithmetic, "\n");
  EXPECT_THAT(text, HasSubstr("3 x 3072 x 3072 x 2.00 bytes = 56.6 MB"));
  EXPECT_THAT(text, HasSubstr("54 layers x 256 experts = 782.8 GB"));
  EXPECT_THAT(text, HasSubstr("answer"));
}

TEST(CapacityPlanTest, MoreLoadNeedsNoLess) {
  size_t last = 0;
  for (const double tokens : {100.0, 1000.0, 5000.0, 20000.0}) {
    CapacityWishes wishes = Wishes();
    wishes.tokens_per_second = tokens;
    const auto plan = PlanCapacity(Large(), wishes);
    ASSERT_TRUE(plan.ok()) << plan.status();
    ASSERT_TRUE(plan->feasible) << tokens;
    EXPECT_GE(plan->routers + plan->shards, last);
    last = plan->routers + plan->shards;
  }
}

// A link of 1 Gbit/s carries 50 sequences' rows of 6144 bytes and answers of 12288 to and from one
// shard in 7.4 ms a layer; among eighty shards, of which a row visits four, in a twentieth.
TEST(CapacityPlanTest, MoreShardsShareTheRowsOnTheWay) {
  CapacityWishes wishes = Wishes();
  wishes.context = 1024;
  wishes.link_gigabits = 1;
  wishes.shard.memory_gb = 1000;
  const auto plan = PlanCapacity(Large(), wishes);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE(plan->feasible);
  EXPECT_EQ(plan->routers, 1u);
  EXPECT_GT(plan->shards, 4u);
}

TEST(CapacityPlanTest, RowsGoInBf16AndComeInFloat32) {
  CapacityWishes wishes = Wishes();
  wishes.context = 1024;
  const auto wide = PlanCapacity(Large(), wishes);
  wishes.link_gigabits = 50;
  const auto narrow = PlanCapacity(Large(), wishes);
  ASSERT_TRUE(wide.ok() && narrow.ok());
  ASSERT_EQ(wide->shards, narrow->shards);
  ASSERT_EQ(wide->routers, 1u);
  // 54 layers, 50 rows of which a shard gets four in `shards`.
  const double bits = 54 * 50 * 4.0 / static_cast<double>(wide->shards) * 3072 * (2 + 4) * 8;
  EXPECT_NEAR(narrow->step_ms - wide->step_ms, bits / 50e6 - bits / 100e6, 1e-6);
  EXPECT_THAT(absl::StrJoin(wide->arithmetic, "\n"), HasSubstr("rows of 3072 x (2 + 4) bytes"));
}

TEST(CapacityPlanTest, WhatCannotBeIsSaid) {
  CapacityWishes wishes = Wishes();
  wishes.tpot_ms = 0.5;  // 54 round trips alone take longer
  const auto plan = PlanCapacity(Large(), wishes);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_FALSE(plan->feasible);
  EXPECT_THAT(plan->arithmetic.back(), HasSubstr("not with these devices"));
}

TEST(CapacityPlanTest, ErrorsNameWhatIsWrong) {
  EXPECT_THAT(FindDevice("abacus").status().message(), HasSubstr("h100"));
  CapacityWishes wishes = Wishes();
  wishes.tpot_ms = 0;
  EXPECT_THAT(PlanCapacity(Large(), wishes).status().message(), HasSubstr("tpot_ms"));
  EXPECT_EQ(PlanCapacity(ModelSpec{}, Wishes()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tessera::cli
