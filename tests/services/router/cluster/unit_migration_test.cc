#include "services/router/cluster/unit_migration.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"

namespace tessera::router {
namespace {

using Kind = BalanceMove::Kind;
using Stage = UnitMigration::Stage;
using wire::HeldUnit;

constexpr LayerIndex kLayer{0};
constexpr uint32_t kExperts = 3;

BalanceMove Move(uint32_t expert, uint32_t from, uint32_t to) {
  return {Kind::kMove, kLayer, ExpertId{expert}, ShardId{from}, ShardId{to}};
}
BalanceMove Copy(uint32_t expert, uint32_t to) {
  return {.kind = Kind::kCopy, .layer = kLayer, .expert = ExpertId{expert}, .to = ShardId{to}};
}
BalanceMove Drop(uint32_t expert, uint32_t from) {
  return {.kind = Kind::kDrop, .layer = kLayer, .expert = ExpertId{expert}, .from = ShardId{from}};
}

// Shards, the registry's map, one router's old view, and orders on their way: all that a migration
// sees or touches. A value, so that every order of events can be tried.
struct World {
  struct Shard {
    bool lives = true;
    bool linked = true;  // usable
    bool burst = false;
    uint64_t incarnation = 1;
    std::map<uint32_t, uint32_t> slots;  // slot -> expert
    std::set<uint32_t> hidden;           // experts out of the map
    std::optional<ShardOrder> order;     // under way
  };
  std::map<uint32_t, Shard> shards;
  std::set<std::pair<uint32_t, uint32_t>> viewed;  // (shard, expert) a step still plans with
  uint32_t slot_count = 0;
  uint32_t copies_min = 1;
  absl::Duration now;
  int losses_left = 0;
  int failures_left = 0;
  int unlinks_left = 0;
  int stalls_left = 0;   // time that passes without an event
  int returns_left = 0;  // a shard that was away for a moment registers again as it is

  bool HasExpert(const Shard& shard, uint32_t expert) const {
    return std::ranges::any_of(shard.slots, [&](const auto& s) { return s.second == expert; });
  }
  // What the map shows: (shard, expert).
  std::set<std::pair<uint32_t, uint32_t>> Map() const {
    std::set<std::pair<uint32_t, uint32_t>> map;
    for (const auto& [id, shard] : shards) {
      if (!shard.lives) continue;
      for (const auto& [slot, expert] : shard.slots) {
        if (!shard.hidden.contains(expert)) map.insert({id, expert});
      }
    }
    return map;
  }
  std::vector<wire::ShardDescriptor> Described() const {
    std::vector<wire::ShardDescriptor> described;
    for (const auto& [id, shard] : shards) {
      if (!shard.lives) continue;
      wire::ShardDescriptor& each = described.emplace_back();
      each.shard = ShardId{id};
      each.incarnation = shard.incarnation;
      each.state = wire::ShardState::kReady;
      each.slot_count = slot_count;
      each.burst = shard.burst;
      for (const auto& [slot, expert] : shard.slots) {
        each.held.push_back({kLayer, ExpertId{expert}, slot, 1});
      }
    }
    return described;
  }
  Placement MapNow() const {
    std::vector<PlacedUnit> units;
    for (const auto& [id, shard] : shards) {
      if (!shard.lives) continue;
      for (const auto& [slot, expert] : shard.slots) {
        if (shard.hidden.contains(expert)) continue;
        units.push_back({kLayer, ExpertId{expert}, {ShardId{id}, slot, 1}});
      }
    }
    auto placement = Placement::Build(Epoch{1}, {1, kExperts}, std::move(units));
    EXPECT_TRUE(placement.ok()) << placement.status();
    return *std::move(placement);
  }
  // The copy may be gone, and the unit has what it must have.
  void ExpectEnoughBesides(uint32_t shard, uint32_t expert) const {
    size_t live = 0;
    bool stays = std::ranges::none_of(
        shards, [](const auto& s) { return s.second.lives && s.second.linked && !s.second.burst; });
    for (const auto& [id, mapped] : Map()) {
      if (id == shard || mapped != expert || !shards.at(id).linked) continue;
      ++live;
      stays = stays || !shards.at(id).burst;
    }
    ASSERT_GE(live, copies_min) << "too few copies of expert " << expert;
    ASSERT_TRUE(stays) << "expert " << expert << " on burst shards only";
  }
  void Step(UnitMigration& migration) {
    const std::vector<wire::ShardDescriptor> described = Described();
    std::vector<RepairShard> known;
    for (const auto& shard : described) {
      known.push_back({.shard = &shard, .usable = shards.at(ToIndex(shard.shard)).linked});
    }
    // Quiet: the view that somebody plans with is the newest.
    const bool quiet = viewed == Map();
    RepairActions actions = migration.Next(MapNow(), known, quiet, now);
    for (const auto& [id, units] : actions.hide) {
      for (const Unit& unit : units) {
        const auto expert = static_cast<uint32_t>(ToIndex(unit.second));
        ASSERT_NO_FATAL_FAILURE(ExpectEnoughBesides(ToIndex(id), expert));
        shards.at(ToIndex(id)).hidden.insert(expert);
      }
    }
    for (const auto& [id, units] : actions.unhide) {
      for (const Unit& unit : units) {
        shards.at(ToIndex(id)).hidden.erase(static_cast<uint32_t>(ToIndex(unit.second)));
      }
    }
    for (ShardOrder& order : actions.orders) {
      Shard& shard = shards.at(ToIndex(order.shard));
      ASSERT_TRUE(shard.lives);
      ASSERT_FALSE(shard.order.has_value()) << "two orders at a time";
      for (const HeldUnit& unit : order.order.drop) {
        const auto expert = static_cast<uint32_t>(ToIndex(unit.expert));
        ASSERT_TRUE(shard.hidden.contains(expert)) << "a copy in the map is dropped";
        ASSERT_NO_FATAL_FAILURE(ExpectEnoughBesides(ToIndex(order.shard), expert));
      }
      shard.order = std::move(order);
    }
  }
  // The shard has done it, or the half of it that failed is undone.
  void FinishOrder(uint32_t id, bool ok, UnitMigration& migration) {
    Shard& shard = shards.at(id);
    const ShardOrder order = *std::exchange(shard.order, std::nullopt);
    if (ok) {
      for (const UnitToLoad& unit : order.order.load) {
        const auto expert = static_cast<uint32_t>(ToIndex(unit.expert));
        ASSERT_FALSE(shard.slots.contains(unit.slot)) << "the slot is taken";
        ASSERT_LT(unit.slot, slot_count) << "there is no such slot";
        ASSERT_FALSE(HasExpert(shard, expert)) << "two copies on one shard";
        shard.slots[unit.slot] = expert;
      }
      for (const HeldUnit& unit : order.order.drop) {
        const auto expert = static_cast<uint32_t>(ToIndex(unit.expert));
        ASSERT_FALSE(viewed.contains({id, expert})) << "a step still uses what is dropped";
        ASSERT_TRUE(shard.hidden.contains(expert)) << "dropped out of the map";
        shard.slots.erase(unit.slot);
        shard.hidden.erase(expert);
      }
    }
    migration.Finished(ShardId{id},
                       ok ? absl::OkStatus() : absl::UnavailableError("the link broke"), now);
  }
  std::string Key(const UnitMigration& migration) const {
    std::string key =
        absl::StrCat(losses_left, failures_left, unlinks_left, stalls_left, returns_left, "|");
    const auto append_time = [&key](absl::Duration time) {
      absl::StrAppend(&key, "t", absl::ToInt64Seconds(time));
    };
    append_time(now - migration.progress_at().value_or(now));
    for (const auto& [id, shard] : shards) {
      absl::StrAppend(&key, id, shard.lives ? "+" : "-", shard.linked ? "" : "u",
                      shard.incarnation);
      for (const auto& [slot, expert] : shard.slots) absl::StrAppend(&key, ",", slot, ":", expert);
      for (const uint32_t expert : shard.hidden) absl::StrAppend(&key, "h", expert);
      if (shard.order) {
        for (const auto& unit : shard.order->order.load) {
          absl::StrAppend(&key, "L", ToIndex(unit.expert), "@", unit.slot);
        }
        for (const auto& unit : shard.order->order.drop) {
          absl::StrAppend(&key, "D", ToIndex(unit.expert));
        }
      }
      absl::StrAppend(&key, ";");
    }
    for (const auto& [shard, expert] : viewed) absl::StrAppend(&key, "v", shard, expert);
    for (const auto& step : migration.steps()) {
      absl::StrAppend(&key, "s", static_cast<int>(step.stage), "i", step.hidden_incarnation, "f",
                      step.drops_failed);
    }
    return key;
  }
};

struct State {
  World world;
  UnitMigration migration;
};

// Longer than a migration waits for anything.
constexpr absl::Duration kLong = absl::Seconds(31);

// Breadth first over every order of: a round, a router that takes the newest view, an order that
// ends well or fails, a shard that dies and one that comes back with what it began with, a data
// link that breaks and comes back, a shard that registers again, time that passes.
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
    const auto map = world.Map();
    for (uint32_t expert = 0; expert < kExperts; ++expert) {
      const bool mapped = std::ranges::any_of(map, [&](auto& c) { return c.second == expert; });
      // Without a loss every expert can be called in the newest map, and in the one in use.
      if (world.losses_left < first_.losses_left) continue;
      ASSERT_TRUE(mapped) << "expert " << expert << " left the map";
      bool reachable = false;
      for (const auto& [shard, viewed] : world.viewed) {
        reachable =
            reachable || (viewed == expert && world.HasExpert(world.shards.at(shard), expert));
      }
      ASSERT_TRUE(reachable) << "the view in use has no live copy of expert " << expert;
    }
    // A copy out of the map that is not being dropped must not be the only one left.
    for (const auto& [id, shard] : world.shards) {
      ASSERT_LE(shard.slots.size(), world.slot_count);
    }
    if (!state.migration.idle()) return CheckItEnds(state);
    ++ends_;
    all_done_ += state.migration.CountOf(Stage::kDone) == state.migration.steps().size();
    for (const auto& [id, shard] : world.shards) {
      ASSERT_FALSE(shard.lives && shard.order.has_value()) << "over with an order under way";
      ASSERT_TRUE(shard.hidden.empty()) << "a copy stays out of the map";
    }
  }
  // Whatever happened, without any further help it comes to an end: time passes, orders end, views
  // are renewed; links stay as they are.
  void CheckItEnds(State state) {
    World& world = state.world;
    for (int round = 0; round < 16 && !state.migration.idle(); ++round) {
      for (const auto& [id, shard] : first_.shards) {
        if (world.shards.at(id).order) world.FinishOrder(id, true, state.migration);
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
        next.world.FinishOrder(id, true, next.migration);
        Push(std::move(next));
      }
      if (shard.order && state.world.failures_left > 0) {
        State next = state;
        --next.world.failures_left;
        next.world.FinishOrder(id, false, next.migration);
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
    if (next.world.shards.at(id).order) next.world.FinishOrder(id, false, next.migration);
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

World Begin(std::vector<std::vector<uint32_t>> held, uint32_t slot_count) {
  World world;
  world.slot_count = slot_count;
  for (uint32_t id = 0; id < held.size(); ++id) {
    for (uint32_t slot = 0; slot < held[id].size(); ++slot) {
      world.shards[id].slots[slot] = held[id][slot];
    }
    world.shards[id];
  }
  return world;
}

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

// ---- details that the exploration does not name

class MigrationTest : public ::testing::Test {
 protected:
  RepairActions Next(absl::Duration now, bool quiet = true) {
    described_ = world_.Described();
    known_.clear();
    for (const auto& shard : described_) known_.push_back({.shard = &shard, .usable = true});
    RepairActions actions = migration_.Next(world_.MapNow(), known_, quiet, now);
    for (const auto& [id, units] : actions.hide) {
      for (const Unit& unit : units) {
        world_.shards.at(ToIndex(id)).hidden.insert(static_cast<uint32_t>(ToIndex(unit.second)));
      }
    }
    return actions;
  }

  World world_ = Begin({{0, 1, 2}, {}, {}}, 4);
  UnitMigration migration_{{.shards_max = 1, .units_max = 2, .bytes_per_second_max = 77}};
  std::vector<wire::ShardDescriptor> described_;
  std::vector<RepairShard> known_;
};

TEST_F(MigrationTest, OrdersAreBoundedAndPaced) {
  migration_.Begin({Copy(0, 1), Copy(1, 1), Copy(2, 1), Copy(0, 2)}, absl::ZeroDuration());
  const RepairActions actions = Next(absl::ZeroDuration());
  ASSERT_EQ(actions.orders.size(), 1u);  // one shard reads at a time
  EXPECT_EQ(actions.orders[0].order.load.size(), 2u);
  EXPECT_EQ(actions.orders[0].order.bytes_per_second_max, 77u);
  EXPECT_TRUE(migration_.WorksOn(ShardId{1}));
  EXPECT_TRUE(Next(absl::ZeroDuration()).orders.empty());
}

TEST_F(MigrationTest, ADropWaitsForQuietViewsAndItsDelay) {
  world_ = Begin({{0, 1, 2}, {0}, {}}, 4);
  migration_.Begin({Drop(0, 0)}, absl::ZeroDuration());
  EXPECT_EQ(Next(absl::ZeroDuration()).hide.size(), 1u);
  EXPECT_TRUE(Next(absl::Milliseconds(500)).orders.empty());
  EXPECT_TRUE(Next(absl::Seconds(2), /*quiet=*/false).orders.empty());
  const RepairActions actions = Next(absl::Seconds(2));
  ASSERT_EQ(actions.orders.size(), 1u);
  EXPECT_EQ(actions.orders[0].order.drop.size(), 1u);
}

TEST_F(MigrationTest, WhatFindsNoSlotForTooLongIsGivenUp) {
  world_ = Begin({{0, 1, 2}, {}}, 0);
  migration_.Begin({Copy(0, 1)}, absl::ZeroDuration());
  Next(absl::Seconds(1));
  EXPECT_FALSE(migration_.idle());
  EXPECT_EQ(migration_.progress_at(), absl::ZeroDuration());
  Next(absl::Minutes(1));
  EXPECT_TRUE(migration_.idle());
  EXPECT_EQ(migration_.CountOf(Stage::kFailed), 1u);
}

TEST_F(MigrationTest, AMoveThatCannotEndPutsItsCopyBack) {
  world_ = Begin({{0, 1, 2}, {0}, {}}, 4);
  migration_.Begin({Drop(0, 0)}, absl::ZeroDuration());
  EXPECT_EQ(Next(absl::ZeroDuration()).hide.size(), 1u);
  EXPECT_TRUE(Next(absl::Seconds(20), /*quiet=*/false).unhide.empty());
  const RepairActions actions = Next(absl::Seconds(31), /*quiet=*/false);
  ASSERT_EQ(actions.unhide.size(), 1u);
  EXPECT_EQ(actions.unhide[0].first, ShardId{0});
  EXPECT_EQ(migration_.CountOf(Stage::kFailed), 1u);
  EXPECT_TRUE(migration_.idle());
}

TEST_F(MigrationTest, ADropThatFailsIsRepeatedWithGrowingPausesAndThenGivenUp) {
  world_ = Begin({{0, 1, 2}, {0}, {}}, 4);
  migration_.Begin({Drop(0, 0)}, absl::ZeroDuration());
  Next(absl::ZeroDuration());
  size_t orders = 0;
  absl::Duration last;
  absl::Duration pause;
  for (absl::Duration now; now < absl::Minutes(2) && !migration_.idle();
       now += absl::Milliseconds(50)) {
    if (Next(now).orders.empty()) continue;
    if (++orders > 1) {
      EXPECT_GE(now - last, pause);
      pause = now - last;
    }
    last = now;
    migration_.Finished(ShardId{0}, absl::UnavailableError("the link broke"), now);
  }
  EXPECT_TRUE(migration_.idle());
  EXPECT_EQ(migration_.CountOf(Stage::kFailed), 1u);
  EXPECT_GE(orders, 4u);
  EXPECT_LE(orders, 10u);
}

TEST_F(MigrationTest, CancelFinishesWhatHasBegunAndNothingMore) {
  migration_.Begin({Move(0, 0, 1), Move(1, 0, 1), Move(2, 0, 1)}, absl::ZeroDuration());
  EXPECT_EQ(Next(absl::ZeroDuration()).orders.size(), 1u);
  migration_.Cancel();
  EXPECT_EQ(migration_.CountOf(Stage::kFailed), 1u);
  EXPECT_EQ(migration_.CountOf(Stage::kLoading), 2u);
  EXPECT_FALSE(migration_.idle());
}

}  // namespace
}  // namespace tessera::router
