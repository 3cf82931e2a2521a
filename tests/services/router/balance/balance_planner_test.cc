#include "services/router/balance/balance_planner.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "absl/time/time.h"
#include "common/base/random.h"

namespace tessera::router {
namespace {

using Kind = BalanceMove::Kind;

// What a plan for 60 layers of 256 experts on 256 shards may take of a processor; twenty times as
// much where sanitizers watch or nothing is optimized.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(NDEBUG)
constexpr absl::Duration kPlanLimit = absl::Seconds(20);
#else
constexpr absl::Duration kPlanLimit = absl::Seconds(1);
#endif

// Of this thread: what other programs take of the machine does not count.
absl::Duration ProcessorTime() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return absl::DurationFromTimeval(usage.ru_utime) + absl::DurationFromTimeval(usage.ru_stime);
}

// Expert e of each layer on shard e * shards / experts, as a cluster begins.
BalanceProblem Contiguous(size_t layers, size_t experts, size_t shards, uint32_t slots) {
  BalanceProblem problem;
  problem.shape = {layers, experts};
  problem.cost.assign(layers * experts, 1.0);
  for (uint32_t s = 0; s < shards; ++s) {
    problem.shards.push_back({.shard = ShardId{s}, .slot_count = slots});
  }
  for (uint32_t l = 0; l < layers; ++l) {
    for (uint32_t e = 0; e < experts; ++e) {
      problem.copies.push_back(
          {LayerIndex{l}, ExpertId{e}, ShardId{static_cast<uint32_t>(e * shards / experts)}});
    }
  }
  return problem;
}

// Zipf costs with an order of their own in each layer.
void SetZipf(double exponent, uint64_t seed, BalanceProblem& problem) {
  Random random(seed);
  const size_t experts = problem.shape.expert_count;
  for (size_t l = 0; l < problem.shape.layer_count; ++l) {
    std::vector<size_t> order(experts);
    std::iota(order.begin(), order.end(), 0);
    for (size_t i = experts; i > 1; --i) std::swap(order[i - 1], order[random.Below(i)]);
    for (size_t rank = 0; rank < experts; ++rank) {
      problem.cost[l * experts + order[rank]] = std::pow(static_cast<double>(rank + 1), -exponent);
    }
  }
}

struct Holding {
  std::map<std::pair<LayerIndex, ExpertId>, std::set<ShardId>> units;
  std::map<ShardId, size_t> used;
};

Holding HoldingOf(const BalanceProblem& problem) {
  Holding holding;
  for (const BalanceCopy& copy : problem.copies) {
    holding.units[{copy.layer, copy.expert}].insert(copy.shard);
    ++holding.used[copy.shard];
  }
  return holding;
}

// Carries the plan out one change after the other, load before drop, and checks what must hold at
// each point. Moves the problem to where the plan leads.
void CarryOut(const BalancePlan& plan, const BalanceOptions& options, BalanceProblem& problem) {
  Holding holding = HoldingOf(problem);
  std::map<ShardId, const BalanceShard*> shards;
  for (const BalanceShard& shard : problem.shards) shards[shard.shard] = &shard;
  const bool all_burst = std::ranges::none_of(
      problem.shards, [](const BalanceShard& shard) { return shard.usable && !shard.burst; });
  size_t loads = 0;
  for (const BalanceMove& move : plan.moves) {
    std::set<ShardId>& holders = holding.units[{move.layer, move.expert}];
    const auto stays = [&](ShardId holder) {
      return shards.at(holder)->usable && (all_burst || !shards.at(holder)->burst);
    };
    const auto count_live = [&] {
      return static_cast<size_t>(std::ranges::count_if(
          holders, [&](const ShardId holder) { return shards.at(holder)->usable; }));
    };
    const size_t live_before = count_live();
    const auto lasting_before = std::ranges::count_if(holders, stays);
    if (move.kind != Kind::kDrop) {
      ++loads;
      ASSERT_TRUE(shards.at(move.to)->usable);
      ASSERT_TRUE(holders.insert(move.to).second) << "two copies on one shard";
      ASSERT_LE(++holding.used[move.to], shards.at(move.to)->slot_count) << "no free slot";
    }
    if (move.kind != Kind::kCopy) {
      ASSERT_EQ(holders.erase(move.from), 1u) << "drops what is not there";
      --holding.used[move.from];
    }
    const size_t live = count_live();
    const auto lasting = std::ranges::count_if(holders, stays);
    ASSERT_GE(lasting, 1) << "no copy on a shard that stays";
    // While it moves it has one copy more than before, of which one may go; and burst shards may go
    // at any time.
    if (move.kind != Kind::kCopy) {
      ASSERT_GE(live, options.copies_min) << "too few copies";
      ASSERT_GE(lasting, std::min<ptrdiff_t>(lasting_before, options.copies_min))
          << "too few copies that stay";
    }
    ASSERT_GE(live, move.kind == Kind::kMove ? live_before : 1);
  }
  EXPECT_EQ(loads, plan.loads);
  EXPECT_LE(loads, options.loads_max);
  problem.copies.clear();
  for (const auto& [unit, holders] : holding.units) {
    for (const ShardId shard : holders) {
      problem.copies.push_back({unit.first, unit.second, shard});
    }
  }
}

TEST(BalancePlannerTest, LeavesWhatIsGoodAlone) {
  const BalanceProblem problem = Contiguous(4, 16, 4, 20 * 4);
  const BalancePlan plan = PlanBalance(problem, {});
  EXPECT_DOUBLE_EQ(plan.before, 1);
  EXPECT_TRUE(plan.moves.empty());
}

TEST(BalancePlannerTest, OneHotExpertIsReplicatedOrItsNeighboursMove) {
  BalanceProblem problem = Contiguous(1, 8, 4, 4);
  problem.cost[0] = 10;  // shard 0 carries 11 of 17
  const BalancePlan plan = PlanBalance(problem, {});
  EXPECT_LT(plan.before, 0.4);
  EXPECT_GT(plan.after, 0.95);
  CarryOut(plan, {}, problem);
  EXPECT_NEAR(BalanceBoard(problem).balance(), plan.after, 1e-6);
}

TEST(BalancePlannerTest, AUnitWithTooFewCopiesIsCopiedAndNotMoved) {
  BalanceProblem problem = Contiguous(2, 16, 4, 16);
  SetZipf(0.9, 3, problem);
  const BalanceOptions options{.copies_min = 2};
  const BalancePlan plan = PlanBalance(problem, options);
  EXPECT_GT(plan.after, plan.before + 0.1);
  for (const BalanceMove& move : plan.moves) EXPECT_EQ(move.kind, Kind::kCopy);
  CarryOut(plan, options, problem);
}

TEST(BalancePlannerTest, ANewShardGetsUnits) {
  BalanceProblem problem = Contiguous(6, 32, 2, 200);
  problem.shards.push_back({.shard = ShardId{2}, .slot_count = 200});
  const BalancePlan plan = PlanBalance(problem, {});
  EXPECT_NEAR(plan.before, 2.0 / 3, 1e-9);
  EXPECT_GT(plan.after, 0.95);
  // A third of 192 units belongs there; hardly one more is touched.
  EXPECT_LE(plan.loads, 192 / 3 + 8);
  CarryOut(plan, {}, problem);
}

TEST(BalancePlannerTest, BurstShardsGetReplicasAndNoLastCopy) {
  BalanceProblem problem = Contiguous(4, 32, 2, 160);
  SetZipf(0.9, 3, problem);
  for (const uint32_t id : {2u, 3u}) {
    problem.shards.push_back({.shard = ShardId{id}, .slot_count = 64, .burst = true});
  }
  const BalancePlan plan = PlanBalance(problem, {});
  EXPECT_GT(plan.after, 0.95);
  CarryOut(plan, {}, problem);
  EXPECT_GT(HoldingOf(problem).used[ShardId{3}], 0u);
}

TEST(BalancePlannerTest, UnusableShardsNeitherCountNorChange) {
  BalanceProblem problem = Contiguous(2, 16, 4, 16);
  SetZipf(0.9, 5, problem);
  problem.shards[1].usable = false;
  const BalancePlan plan = PlanBalance(problem, {});
  for (const BalanceMove& move : plan.moves) {
    if (move.kind != Kind::kDrop) {
      EXPECT_NE(move.to, ShardId{1});
    }
    if (move.kind != Kind::kCopy) {
      EXPECT_NE(move.from, ShardId{1});
    }
  }
}

TEST(BalancePlannerTest, CopiesPreferOtherZones) {
  BalanceProblem problem = Contiguous(1, 4, 4, 4);
  problem.cost = {20, 1, 1, 1};
  problem.shards[0].zone = problem.shards[1].zone = "a";
  problem.shards[2].zone = problem.shards[3].zone = "b";
  const BalancePlan plan = PlanBalance(problem, {.loads_max = 1});
  ASSERT_EQ(plan.moves.size(), 1u);
  EXPECT_EQ(plan.moves[0].kind, Kind::kCopy);
  EXPECT_GE(plan.moves[0].to, ShardId{2});
}

TEST(BalancePlannerTest, WithoutAFreeSlotNothingCanMoveLive) {
  BalanceProblem problem = Contiguous(2, 16, 4, 8);  // 8 slots, 8 units each
  SetZipf(0.9, 1, problem);
  EXPECT_TRUE(PlanBalance(problem, {}).moves.empty());
  BalanceOptions offline{.slots_kept_free = 0, .live = false};
  EXPECT_GT(PlanBalance(problem, offline).gain(), 0.05);
}

TEST(BalancePlannerTest, PropertiesHoldForRandomClusters) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const size_t layers = 1 + random.Below(4);
    const size_t experts = 4 + random.Below(28);
    const size_t shards = 2 + random.Below(7);
    const size_t held = layers * ((experts + shards - 1) / shards);
    BalanceProblem problem =
        Contiguous(layers, experts, shards, static_cast<uint32_t>(held + random.Below(held + 2)));
    SetZipf(1.4 * random.Uniform(), seed, problem);
    for (size_t burst = random.Below(3); burst > 0; --burst) {
      problem.shards.push_back({.shard = ShardId{static_cast<uint32_t>(problem.shards.size())},
                                .slot_count = static_cast<uint32_t>(random.Below(held + 1)),
                                .burst = true});
    }
    BalanceOptions options{.copies_min = 1 + static_cast<uint32_t>(random.Below(2)),
                           .loads_max = random.Below(2) == 0 ? SIZE_MAX : 1 + random.Below(20)};
    double last = 0;
    for (int round = 0; round < 4; ++round) {
      const BalancePlan plan = PlanBalance(problem, options);
      ASSERT_GE(plan.after, plan.before - 1e-9);
      ASSERT_GE(plan.before, last - 0.01);  // levelled from another start
      last = plan.after;
      ASSERT_NO_FATAL_FAILURE(CarryOut(plan, options, problem));
      ASSERT_NEAR(BalanceBoard(problem).balance(), plan.after, 0.02);
    }
  }
}

TEST(BalancePlannerTest, ConvergesAndThenRests) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    BalanceProblem problem = Contiguous(8, 64, 8, 8 * 8 * 5 / 4);
    SetZipf(0.9, seed, problem);
    const BalanceOptions options{.loads_max = 128};
    int rounds = 0;
    for (; rounds < 20; ++rounds) {
      const BalancePlan plan = PlanBalance(problem, options);
      if (plan.moves.empty()) break;
      ASSERT_NO_FATAL_FAILURE(CarryOut(plan, options, problem));
    }
    EXPECT_LT(rounds, 6);
    EXPECT_GE(BalanceBoard(problem).balance(), 0.95) << seed;
  }
}

TEST(BalancePlannerTest, FollowsAShiftingHotSetWithBoundedMoves) {
  BalanceProblem problem = Contiguous(8, 64, 4, 8 * 16 * 3 / 2);
  const BalanceOptions options{.loads_max = 160};
  for (uint64_t shift = 1; shift <= 20; ++shift) {
    SetZipf(1.0, shift, problem);
    double balance = 0;
    for (int round = 0; round < 2; ++round) {
      const BalancePlan plan = PlanBalance(problem, options);
      balance = plan.after;
      ASSERT_NO_FATAL_FAILURE(CarryOut(plan, options, problem));
    }
    EXPECT_GE(balance, 0.9) << "shift " << shift;
  }
}

TEST(BalancePlannerTest, ReplicasEvenOutSkewWhereSlotsSuffice) {
  for (const size_t shards : {4u, 16u}) {
    for (const double exponent : {0.6, 0.9, 1.2}) {
      BalanceProblem problem =
          Contiguous(8, 256, shards, static_cast<uint32_t>(8 * 256 / shards * 9 / 8));
      SetZipf(exponent, 17, problem);
      const BalancePlan plan = PlanBalance(problem, {.slots_kept_free = 0.02});
      printf("%zu shards, Zipf %.1f: %.3f -> %.3f, %zu loads of 2048 units\n", shards, exponent,
             plan.before, plan.after, plan.loads);
      EXPECT_GE(plan.after, 0.95) << shards << " shards, Zipf " << exponent;
      CarryOut(plan, {}, problem);
    }
  }
}

TEST(BalancePlannerTest, PlansALargeModelOnManyShardsInTime) {
  for (const double exponent : {0.6, 0.9, 1.2}) {
    for (const double spare : {0.0, 0.125, 0.25}) {
      const auto slots = static_cast<uint32_t>(std::ceil(60 * (1 + spare)));
      BalanceProblem problem = Contiguous(60, 256, 256, slots);
      SetZipf(exponent, 42, problem);
      const absl::Duration start = ProcessorTime();
      const BalancePlan plan = PlanBalance(problem, {.slots_kept_free = 0, .live = spare > 0});
      const absl::Duration took = ProcessorTime() - start;
      printf(
          "60 layers x 256 experts x 256 shards, Zipf %.1f, %4.1f %% spare: %.3f s, balance "
          "%.3f -> %.3f, %zu loads\n",
          exponent, 100 * spare, absl::ToDoubleSeconds(took), plan.before, plan.after, plan.loads);
      EXPECT_LT(took, kPlanLimit);
      EXPECT_GE(plan.after, plan.before);
    }
  }
}

}  // namespace
}  // namespace tessera::router
