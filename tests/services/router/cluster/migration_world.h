#pragma once

// What tests of a migration share: shards that hold units, a map, one router's view.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/router/cluster/unit_migration.h"

namespace tessera::router {

inline constexpr LayerIndex kWorldLayer{0};
inline constexpr uint32_t kWorldExperts = 3;

inline BalanceMove Move(uint32_t expert, uint32_t from, uint32_t to) {
  return {BalanceMove::Kind::kMove, kWorldLayer, ExpertId{expert}, ShardId{from}, ShardId{to}};
}
inline BalanceMove Copy(uint32_t expert, uint32_t to) {
  return {.kind = BalanceMove::Kind::kCopy,
          .layer = kWorldLayer,
          .expert = ExpertId{expert},
          .to = ShardId{to}};
}
inline BalanceMove Drop(uint32_t expert, uint32_t from) {
  return {.kind = BalanceMove::Kind::kDrop,
          .layer = kWorldLayer,
          .expert = ExpertId{expert},
          .from = ShardId{from}};
}

// Shards, the registry's map, one router's old view, and orders on their way: all that a migration
// sees or touches. A value, so that every order of events can be tried.
struct MigrationWorld {
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
  int doubts_left = 0;  // orders that are told as failed, and done
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
        each.held.push_back({kWorldLayer, ExpertId{expert}, slot, 1});
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
        units.push_back({kWorldLayer, ExpertId{expert}, {ShardId{id}, slot, 1}});
      }
    }
    auto placement = Placement::Build(Epoch{1}, {1, kWorldExperts}, std::move(units));
    EXPECT_TRUE(placement.ok()) << placement.status();
    return *std::move(placement);
  }
  // The copy may be gone, and the unit has what it must have.
  void ExpectEnoughBesides(uint32_t shard, uint32_t expert) const {
    const bool all_burst = std::ranges::none_of(
        shards, [](const auto& s) { return s.second.lives && s.second.linked && !s.second.burst; });
    const auto stays = [&](uint32_t id) { return all_burst || !shards.at(id).burst; };
    size_t live = 0;
    size_t lasting = 0;
    for (const auto& [id, mapped] : Map()) {
      if (id == shard || mapped != expert || !shards.at(id).linked) continue;
      ++live;
      lasting += stays(id);
    }
    ASSERT_GE(stays(shard) ? lasting : live, copies_min) << "too few copies of expert " << expert;
    ASSERT_GE(lasting, 1u) << "expert " << expert << " on burst shards only";
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
      for (const wire::HeldUnit& unit : order.order.drop) {
        const auto expert = static_cast<uint32_t>(ToIndex(unit.expert));
        ASSERT_TRUE(shard.hidden.contains(expert)) << "a copy in the map is dropped";
        ASSERT_NO_FATAL_FAILURE(ExpectEnoughBesides(ToIndex(order.shard), expert));
      }
      shard.order = std::move(order);
    }
  }
  enum class End : uint8_t { kDone, kFailed, kDoneButToldFailed };
  // The shard has done it, or the half of it that failed is undone.
  void FinishOrder(uint32_t id, End end, UnitMigration& migration) {
    Shard& shard = shards.at(id);
    const ShardOrder order = *std::exchange(shard.order, std::nullopt);
    if (end != End::kFailed) {
      for (const UnitToLoad& unit : order.order.load) {
        const auto expert = static_cast<uint32_t>(ToIndex(unit.expert));
        ASSERT_FALSE(shard.slots.contains(unit.slot)) << "the slot is taken";
        ASSERT_LT(unit.slot, slot_count) << "there is no such slot";
        ASSERT_FALSE(HasExpert(shard, expert)) << "two copies on one shard";
        shard.slots[unit.slot] = expert;
      }
      for (const wire::HeldUnit& unit : order.order.drop) {
        const auto expert = static_cast<uint32_t>(ToIndex(unit.expert));
        ASSERT_FALSE(viewed.contains({id, expert})) << "a step still uses what is dropped";
        ASSERT_TRUE(shard.hidden.contains(expert)) << "dropped out of the map";
        shard.slots.erase(unit.slot);
        shard.hidden.erase(expert);
      }
    }
    migration.Finished(
        ShardId{id},
        end == End::kDone ? absl::OkStatus() : absl::UnavailableError("the link broke"), now);
  }
  std::string Key(const UnitMigration& migration) const {
    std::string key = absl::StrCat(losses_left, failures_left, doubts_left, unlinks_left,
                                   stalls_left, returns_left, "|");
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

// Shards 0, 1, ... that hold these experts, in slots from 0 on.
inline MigrationWorld Begin(std::vector<std::vector<uint32_t>> held, uint32_t slot_count) {
  MigrationWorld world;
  world.slot_count = slot_count;
  for (uint32_t id = 0; id < held.size(); ++id) {
    for (uint32_t slot = 0; slot < held[id].size(); ++slot) {
      world.shards[id].slots[slot] = held[id][slot];
    }
    world.shards[id];
  }
  return world;
}

}  // namespace tessera::router
