// Planning a layer costs no allocation once the tables have grown.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "common/base/random.h"
#include "common/moe/dispatch_plan.h"

namespace {
std::atomic<size_t> allocations = 0;  // of this program
}  // namespace

[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace tessera {
namespace {

constexpr size_t kExperts = 16;
constexpr size_t kTopK = 2;

struct Layer {
  std::vector<uint32_t> experts;
  std::vector<float> weights;
  RoutingView view(size_t rows) const { return {rows, kTopK, experts, weights}; }
};

Layer RandomLayer(size_t rows, uint64_t seed) {
  Random random(seed);
  Layer layer;
  for (size_t row = 0; row < rows; ++row) {
    const auto first = static_cast<uint32_t>(random.Below(kExperts - 1));
    layer.experts.insert(layer.experts.end(), {first, first + 1});
    layer.weights.insert(layer.weights.end(), {0.5f, 0.25f});
  }
  return layer;
}

// Three shards; every expert on two of them.
Placement TwoCopies() {
  std::vector<PlacedUnit> units;
  for (uint32_t e = 0; e < kExperts; ++e) {
    for (uint32_t copy = 0; copy < 2; ++copy) {
      units.push_back({LayerIndex{0}, ExpertId{e}, {ShardId{(e + copy) % 3}, e, 1}});
    }
  }
  return *Placement::Build(Epoch{1}, {1, kExperts}, std::move(units));
}

TEST(DispatchPlanner, AllocatesNothingInTheLongRun) {
  const Placement placement = TwoCopies();
  std::vector<Layer> layers;
  for (uint64_t seed = 0; seed < 20; ++seed) layers.push_back(RandomLayer(1 + seed % 7 * 5, seed));
  DispatchPlanner planner;
  DispatchPlan plan;
  const auto plan_all = [&] {
    for (size_t i = 0; i < layers.size(); ++i) {
      planner.Plan(LayerIndex{0}, layers[i].view(layers[i].experts.size() / kTopK), placement,
                   {.seed = i}, plan);
    }
  };
  // Which of the plans' memory serves which shard changes from layer to layer, so growing takes a
  // few rounds.
  for (int round = 0; round < 20; ++round) plan_all();
  const size_t before = allocations;
  plan_all();
  EXPECT_EQ(allocations - before, 0u);
}

TEST(DispatchPlanner, APlanIsTheSameWhateverWasPlannedBefore) {
  const Placement placement = TwoCopies();
  DispatchPlanner planner;
  DispatchPlan plan;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const size_t rows = 1 + seed % 13;
    const Layer layer = RandomLayer(rows, seed);
    planner.Plan(LayerIndex{0}, layer.view(rows), placement, {.seed = seed}, plan);
    DispatchPlan fresh;
    PlanDispatch(LayerIndex{0}, layer.view(rows), placement, {.seed = seed}, fresh);
    ASSERT_EQ(plan.shards.size(), fresh.shards.size());
    for (size_t s = 0; s < plan.shards.size(); ++s) {
      EXPECT_EQ(plan.shards[s].shard, fresh.shards[s].shard);
      EXPECT_EQ(plan.shards[s].rows, fresh.shards[s].rows);
      EXPECT_EQ(plan.shards[s].pair_rows, fresh.shards[s].pair_rows);
      EXPECT_EQ(plan.shards[s].pair_weights, fresh.shards[s].pair_weights);
      EXPECT_EQ(plan.shards[s].segments.size(), fresh.shards[s].segments.size());
    }
  }
}

TEST(DispatchPlanner, AStepMayHaveMoreRowsThanACall) {
  constexpr size_t kRows = 70000;
  const Placement placement = TwoCopies();
  const Layer layer = RandomLayer(kRows, 1);
  DispatchPlan plan;
  PlanDispatch(LayerIndex{0}, layer.view(kRows), placement, {}, plan);
  size_t pairs = 0;
  for (const ShardPlan& shard : plan.shards) {
    size_t pair = 0;
    for (const PlanSegment& segment : shard.segments) {
      for (const size_t end = pair + segment.pair_count; pair < end; ++pair, ++pairs) {
        const uint32_t row = shard.rows.at(shard.pair_rows[pair]);
        const auto experts = layer.view(kRows).experts_of(row);
        ASSERT_TRUE(ExpertId{experts[0]} == segment.expert ||
                    ExpertId{experts[1]} == segment.expert);
      }
    }
  }
  EXPECT_EQ(pairs, kRows * kTopK);
}

}  // namespace
}  // namespace tessera
