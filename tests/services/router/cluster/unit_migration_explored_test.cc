// Every order of events, as far as it differs, on small clusters: see Explorer.

#include <gtest/gtest.h>

#include <cstdio>
#include <deque>
#include <string>

#include "tests/services/router/cluster/migration_world.h"

namespace tessera::router {
namespace {

using Kind = BalanceMove::Kind;
using Stage = UnitMigration::Stage;
using World = MigrationWorld;

struct State {
  World world;
  UnitMigration migration;
};

// Longer than a migration waits for anything.
constexpr absl::Duration kLong = absl::Seconds(31);

// Breadth first over every order of: a round, a router that takes the newest view, an order that
// ends well or fails or is done and told as failed, a shard that dies and one that comes back with
// what it began with, a data link that breaks and comes back, a shard that registers again, time
// that passes.
class Explorer {
 public:
  Explorer(World world, const std::vector<BalanceMove>& moves) : first_(world) {
    UnitMigration migration({.copies_min = world.copies_min,
                             .units_max = 2,
                             .drop_delay = absl::ZeroDuration(),
                             .drop_pause = absl::ZeroDuration()});
    migration.Begin(moves, absl::ZeroDuration());
    world.viewed = world.Map();
    Push({std::move(world), std::move(migration)});
  }

  void Run() {
    while (!open_.empty() && !::testing::Test::HasFatalFailure()) {
      const State state = std::move(open_.front());
      open_.pop_front();
      Check(state);
      Expand(state);
    }
  }
  size_t states() const { return seen_.size(); }
  size_t ends() const { return ends_; }          // states where all is over
  size_t all_done() const { return all_done_; }  // of those, with every step carried out

 private:
  void Push(State state) {
    if (seen_.insert(state.world.Key(state.migration)).second) open_.push_back(std::move(state));
  }

  void Check(const State& state) {
    const World& world = state.world;
    // Without a loss every expert can be called in the newest map, and in the one in use.
    if (world.losses_left == first_.losses_left) CheckCoverage(world);
    for (const auto& [id, expert] : world.viewed) {
      const World::Shard& shard = world.shards.at(id);
      ASSERT_TRUE(shard.lives && world.HasExpert(shard, expert))
          << "the view in use lists expert " << expert << " on shard " << id << ", which let it go";
    }
    for (const auto& [id, shard] : world.shards) {
      ASSERT_LE(shard.slots.size(), world.slot_count);
    }
    CheckNextRound(state);
    if (!state.migration.idle()) return CheckItEnds(state);
    ++ends_;
    all_done_ += state.migration.CountOf(Stage::kDone) == state.migration.steps().size();
    for (const auto& [id, shard] : world.shards) {
      ASSERT_FALSE(shard.lives && shard.order.has_value()) << "over with an order under way";
      ASSERT_TRUE(shard.hidden.empty()) << "a copy stays out of the map";
    }
  }
  void CheckCoverage(const World& world) {
    const auto map = world.Map();
    for (uint32_t expert = 0; expert < kWorldExperts; ++expert) {
      ASSERT_TRUE(std::ranges::any_of(map, [&](auto& c) { return c.second == expert; }))
          << "expert " << expert << " left the map";
      ASSERT_TRUE(std::ranges::any_of(world.viewed, [&](auto& c) { return c.second == expert; }))
          << "the view in use has no live copy of expert " << expert;
    }
  }
  // From the next round on, whatever was lost: what a living shard holds and does not drop is in
  // the map, or enough others are.
  void CheckNextRound(State state) {
    World& world = state.world;
    world.Step(state.migration);
    for (const auto& [id, shard] : world.shards) {
      if (!shard.lives) continue;
      for (const uint32_t expert : shard.hidden) {
        const bool being_dropped =
            shard.order && std::ranges::any_of(shard.order->order.drop, [&](const auto& unit) {
              return unit.expert == ExpertId{expert};
            });
        if (being_dropped) continue;
        ASSERT_NO_FATAL_FAILURE(world.ExpectEnoughBesides(id, expert))
            << "while shard " << id << " hides one";
      }
    }
  }
  // Whatever happened, without any further help it comes to an end: time passes, orders end, views
  // are renewed; links stay as they are.
  void CheckItEnds(State state) {
    World& world = state.world;
    for (int round = 0; round < 16 && !state.migration.idle(); ++round) {
      for (const auto& [id, shard] : first_.shards) {
        if (world.shards.at(id).order) world.FinishOrder(id, World::End::kDone, state.migration);
      }
      world.viewed = world.Map();
      world.now += kLong;
      world.Step(state.migration);
    }
    ASSERT_TRUE(state.migration.idle()) << "it waits for ever";
  }

  void Expand(const State& state) {
    {
      State next = state;
      next.world.Step(next.migration);
      Push(std::move(next));
    }
    {
      State next = state;
      next.world.viewed = next.world.Map();
      Push(std::move(next));
    }
    for (const auto& [id, shard] : state.world.shards) {
      if (shard.order) {
        State next = state;
        next.world.FinishOrder(id, World::End::kDone, next.migration);
        Push(std::move(next));
      }
      if (shard.order && state.world.failures_left > 0) {
        State next = state;
        --next.world.failures_left;
        next.world.FinishOrder(id, World::End::kFailed, next.migration);
        Push(std::move(next));
      }
      if (shard.order && state.world.doubts_left > 0) {
        State next = state;
        --next.world.doubts_left;
        next.world.FinishOrder(id, World::End::kDoneButToldFailed, next.migration);
        Push(std::move(next));
      }
      if (shard.lives && state.world.losses_left > 0) Lose(state, id);
      if (!shard.lives) Return(state, id);
      ExpandLinks(state, id, shard);
    }
    if (state.world.stalls_left > 0) {
      State next = state;
      --next.world.stalls_left;
      next.world.now += kLong;
      Push(std::move(next));
    }
  }
  void ExpandLinks(const State& state, uint32_t id, const World::Shard& shard) {
    if (!shard.linked) {
      State next = state;
      next.world.shards.at(id).linked = true;
      Push(std::move(next));
    } else if (shard.lives && state.world.unlinks_left > 0) {
      State next = state;
      --next.world.unlinks_left;
      next.world.shards.at(id).linked = false;
      Push(std::move(next));
    }
    if (shard.lives && !shard.order && state.world.returns_left > 0) {
      State next = state;
      --next.world.returns_left;
      next.world.shards.at(id).hidden.clear();
      Push(std::move(next));
    }
  }
  void Lose(const State& state, uint32_t id) {
    State next = state;
    --next.world.losses_left;
    if (next.world.shards.at(id).order)
      next.world.FinishOrder(id, World::End::kFailed, next.migration);
    World::Shard& shard = next.world.shards.at(id);
    shard.lives = false;
    shard.slots.clear();
    shard.hidden.clear();
    std::erase_if(next.world.viewed, [&](const auto& copy) { return copy.first == id; });
    Push(std::move(next));
  }
  void Return(const State& state, uint32_t id) {
    State next = state;
    World::Shard& shard = next.world.shards.at(id);
    shard = first_.shards.at(id);
    shard.incarnation = state.world.shards.at(id).incarnation + 1;
    Push(std::move(next));
  }

  const World first_;
  std::set<std::string> seen_;
  std::deque<State> open_;
  size_t ends_ = 0;
  size_t all_done_ = 0;
};

struct Plan {
  const char* name;
  World world;
  std::vector<BalanceMove> moves;
};

std::vector<Plan> Plans() {
  return {{"move", Begin({{0, 1}, {2}}, 3), {Move(0, 0, 1)}},
          {"swap", Begin({{0, 1}, {2}}, 3), {Move(2, 1, 0), Move(0, 0, 1)}},
          {"swap_in_one_free_slot", Begin({{0, 1}, {2}}, 2), {Move(0, 0, 1), Move(2, 1, 0)}},
          {"copy_then_drop", Begin({{0, 1}, {2}}, 3), {Copy(0, 1), Drop(0, 0)}},
          {"spread_over_a_new_shard",
           Begin({{0, 1}, {2}, {}}, 3),
           {Copy(0, 2), Move(1, 0, 2), Copy(2, 2)}},
          {"chain", Begin({{0}, {1}, {2}}, 2), {Move(0, 0, 1), Move(1, 1, 2), Move(2, 2, 0)}},
          {"drop_of_two", Begin({{0, 1, 2}, {0, 1}}, 3), {Drop(0, 0), Drop(1, 1)}}};
}

TEST(UnitMigrationExplored, WithoutTroubleEveryStepIsDoneInEveryOrderOfEvents) {
  for (Plan& plan : Plans()) {
    SCOPED_TRACE(plan.name);
    Explorer explorer(plan.world, plan.moves);
    explorer.Run();
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_GT(explorer.ends(), 0u);
    EXPECT_EQ(explorer.all_done(), explorer.ends());
    printf("%s: %zu states\n", plan.name, explorer.states());
  }
}

TEST(UnitMigrationExplored, FailedOrdersLeaveAValidMap) {
  for (Plan& plan : Plans()) {
    SCOPED_TRACE(plan.name);
    plan.world.failures_left = 2;
    Explorer explorer(plan.world, plan.moves);
    explorer.Run();
    ASSERT_FALSE(HasFatalFailure());
    // A drop that fails is tried again; a load that fails ends the plan.
    const bool loads = std::ranges::any_of(
        plan.moves, [](const BalanceMove& move) { return move.kind != Kind::kDrop; });
    EXPECT_EQ(explorer.ends() > explorer.all_done(), loads);
    printf("%s: %zu states\n", plan.name, explorer.states());
  }
}

TEST(UnitMigrationExplored, OrdersDoneButToldAsFailedLeaveAValidMap) {
  for (Plan& plan : Plans()) {
    SCOPED_TRACE(plan.name);
    plan.world.doubts_left = 2;
    plan.world.losses_left = 1;
    Explorer explorer(plan.world, plan.moves);
    explorer.Run();
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_GT(explorer.ends(), 0u);
    printf("%s: %zu states\n", plan.name, explorer.states());
  }
}

TEST(UnitMigrationExplored, ALossAtAnyMomentEndsTheMigrationAndDropsNothingInUse) {
  for (Plan& plan : Plans()) {
    SCOPED_TRACE(plan.name);
    plan.world.losses_left = 2;
    Explorer explorer(plan.world, plan.moves);
    explorer.Run();
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_GT(explorer.ends(), 0u);
    printf("%s: %zu states\n", plan.name, explorer.states());
  }
}

TEST(UnitMigrationExplored, ALinkThatBreaksOrAStallHoldsItUpForAWhileOnly) {
  for (Plan& plan : Plans()) {
    SCOPED_TRACE(plan.name);
    plan.world.unlinks_left = 2;
    plan.world.stalls_left = 1;
    Explorer explorer(plan.world, plan.moves);
    explorer.Run();
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_GT(explorer.all_done(), 0u);
    printf("%s: %zu states\n", plan.name, explorer.states());
  }
}

TEST(UnitMigrationExplored, WhereTwoCopiesMustLiveTwoDo) {
  std::vector<Plan> plans = {
      {"move_of_one_of_two", Begin({{0, 1}, {0, 1, 2}, {2}}, 3), {Move(0, 0, 2)}},
      {"move_of_a_sole_copy", Begin({{0, 1}, {1, 2}, {2}}, 3), {Move(0, 0, 2)}},
      {"drop_of_one_of_three", Begin({{0, 1, 2}, {0, 1, 2}, {0}}, 3), {Drop(0, 0)}},
      {"drop_of_one_of_two", Begin({{0, 1, 2}, {0, 1, 2}}, 3), {Drop(0, 0)}}};
  const std::vector<size_t> failed = {0, 1, 0, 1};
  for (size_t i = 0; i < plans.size(); ++i) {
    for (const int unlinks : {0, 2}) {
      SCOPED_TRACE(absl::StrCat(plans[i].name, ", ", unlinks, " links break"));
      World world = plans[i].world;
      world.copies_min = 2;
      world.unlinks_left = unlinks;
      world.stalls_left = 1;
      Explorer explorer(world, plans[i].moves);
      explorer.Run();
      ASSERT_FALSE(HasFatalFailure());
      EXPECT_GT(explorer.ends(), 0u);
      EXPECT_EQ(explorer.all_done() > 0, failed[i] == 0);
      printf("%s: %zu states\n", plans[i].name, explorer.states());
    }
  }
}

TEST(UnitMigrationExplored, ACopyThatStandsInTheMapAgainIsNotDropped) {
  for (Plan& plan : Plans()) {
    SCOPED_TRACE(plan.name);
    plan.world.returns_left = 2;
    Explorer explorer(plan.world, plan.moves);
    explorer.Run();
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_EQ(explorer.all_done(), explorer.ends());
  }
}

TEST(UnitMigrationExplored, BurstShardsHoldNoLastCopy) {
  std::vector<Plan> plans = {
      {"drop_of_the_base_copy", Begin({{0, 1}, {2}, {0}}, 3), {Drop(0, 0)}},
      {"move_to_a_burst_shard", Begin({{0, 1}, {2}, {}}, 3), {Move(0, 0, 2)}},
      {"move_between_base_shards", Begin({{0, 1}, {2}, {0}}, 3), {Move(0, 0, 1)}}};
  // A copy there does not stand for one of two that must live.
  Plan two = {"drop_beside_a_burst_copy", Begin({{0, 1, 2}, {1, 2, 0}, {0}}, 3), {Drop(0, 0)}};
  two.world.copies_min = 2;
  plans.push_back(two);
  for (Plan& plan : plans) {
    SCOPED_TRACE(plan.name);
    plan.world.shards.at(2).burst = true;
    plan.world.unlinks_left = 1;
    plan.world.losses_left = 1;
    Explorer explorer(plan.world, plan.moves);
    explorer.Run();
    ASSERT_FALSE(HasFatalFailure());
    EXPECT_GT(explorer.ends(), 0u);
  }
}

}  // namespace
}  // namespace tessera::router
