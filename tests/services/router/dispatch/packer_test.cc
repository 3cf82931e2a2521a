#include "services/router/dispatch/packer.h"

#include <map>
#include <tuple>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/services/router/dispatch/dispatch_samples.h"

namespace tessera::router {
namespace {

// (row of the step, expert) -> weight; fails if a pair is there twice or out of order.
using Pairs = std::map<std::pair<uint32_t, uint32_t>, float>;

void AddPairs(const ShardPlan& plan, Pairs& pairs) {
  ASSERT_TRUE(std::is_sorted(plan.rows.begin(), plan.rows.end()));
  size_t pair = 0;
  int64_t last_expert = -1;
  std::vector<bool> used(plan.rows.size());
  for (const PlanSegment& segment : plan.segments) {
    ASSERT_GT(static_cast<int64_t>(ToIndex(segment.expert)), last_expert);
    last_expert = static_cast<int64_t>(ToIndex(segment.expert));
    ASSERT_GT(segment.pair_count, 0u);
    int64_t last_row = -1;
    for (uint32_t i = 0; i < segment.pair_count; ++i, ++pair) {
      ASSERT_LT(pair, plan.pair_rows.size());
      ASSERT_GT(plan.pair_rows[pair], last_row);
      last_row = plan.pair_rows[pair];
      used.at(plan.pair_rows[pair]) = true;
      const auto key = std::pair(plan.rows[plan.pair_rows[pair]],
                                 static_cast<uint32_t>(ToIndex(segment.expert)));
      ASSERT_TRUE(pairs.emplace(key, plan.pair_weights[pair]).second);
    }
  }
  ASSERT_EQ(pair, plan.pair_rows.size());
  EXPECT_EQ(std::count(used.begin(), used.end(), false), 0) << "a row without a pair";
}

Pairs PairsOf(const Work& work) {
  Pairs pairs;
  for (size_t i = 0; i < work.experts.size(); ++i) {
    pairs[{static_cast<uint32_t>(i / work.top_k), work.experts[i]}] = work.weights[i];
  }
  return pairs;
}

ShardPlan Everything(const Work& work) {
  ShardPlan plan;
  std::vector<ExpertId> all;
  for (uint32_t e = 0; e < 8; ++e) {
    if (std::count(work.experts.begin(), work.experts.end(), e) > 0) all.push_back(ExpertId{e});
  }
  Packer().CollectPairs(work.routed().routing, all, plan);
  return plan;
}

TEST(Packer, CollectsThePairsOfSomeExperts) {
  const Work work = RandomWork(7, 3);
  Pairs all;
  AddPairs(Everything(work), all);
  EXPECT_EQ(all, PairsOf(work));
  std::vector<ExpertId> some = {ExpertId{work.experts[1]}};
  ShardPlan plan;
  Packer().CollectPairs(work.routed().routing, some, plan);
  Pairs got;
  AddPairs(plan, got);
  std::erase_if(all, [&](const auto& item) { return item.first.second != work.experts[1]; });
  EXPECT_EQ(got, all);
}

TEST(Packer, CutsHoldEveryPairOnce) {
  Packer packer;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const Work work = RandomWork(1 + seed, seed);
    const ShardPlan plan = Everything(work);
    const Packer::CallLimits limits{1 + seed % 5, 3 + seed % 7};
    Pairs pairs;
    size_t begin = 0;
    while (begin < plan.rows.size()) {
      const size_t end = packer.CutEnd(plan, limits, begin);
      ASSERT_GT(end, begin);
      ShardPlan part;
      packer.TakeRows(plan, begin, end, part);
      ASSERT_TRUE(Packer::Fits(part, limits)) << "seed " << seed;
      AddPairs(part, pairs);
      begin = end;
    }
    EXPECT_EQ(pairs, PairsOf(work)) << "seed " << seed;
  }
}

TEST(Packer, PiecesHoldEveryPairOnce) {
  Packer packer;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const Work work = RandomWork(1 + seed % 6, seed);
    const ShardPlan plan = Everything(work);
    std::vector<uint32_t> piece_of;
    for (size_t s = 0; s < plan.segments.size(); ++s) {
      piece_of.push_back(s == 0 ? 0 : static_cast<uint32_t>(RandomBits(seed, s) % 3));
    }
    Pairs pairs;
    for (uint32_t piece = 0; piece < 3; ++piece) {
      if (std::count(piece_of.begin(), piece_of.end(), piece) == 0) continue;
      ShardPlan part;
      packer.TakeSegments(plan, piece_of, piece, part);
      AddPairs(part, pairs);
    }
    EXPECT_EQ(pairs, PairsOf(work)) << "seed " << seed;
  }
}

// More rows than a call can number.
TEST(Packer, AStepOfManyRowsIsCutWithoutMixingThem) {
  constexpr size_t kRows = 70000;
  Packer packer;
  const Work work = RandomWork(kRows, 1, /*expert_count=*/8, /*top_k=*/1, /*d_model=*/1);
  const ShardPlan plan = Everything(work);
  Pairs pairs;
  for (size_t begin = 0; begin < kRows;) {
    const size_t end = packer.CutEnd(plan, {30000, 30000}, begin);
    ShardPlan part;
    packer.TakeRows(plan, begin, end, part);
    AddPairs(part, pairs);
    begin = end;
  }
  EXPECT_EQ(pairs, PairsOf(work));
}

}  // namespace
}  // namespace tessera::router
