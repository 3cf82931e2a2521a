#pragma once

// What tests of the repair share.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "services/router/cluster/unit_repair.h"

namespace tessera::router {

inline constexpr LayerIndex kLayer{1};

inline Unit U(uint32_t expert) { return {kLayer, ExpertId{expert}}; }

inline UnitRepairConfig Config() {
  return {.moe_layers = {kLayer}, .expert_count = 4, .background_units_max = 1};
}

// Shards that do as they are told, without a network: experts by slot.
class RepairTest : public ::testing::Test {
 protected:
  void Add(uint32_t id, std::vector<uint32_t> experts, uint32_t slot_count = 6) {
    wire::ShardDescriptor shard{.shard = ShardId{id},
                                .incarnation = 1,
                                .grpc_address = "a",
                                .data_address = "b",
                                .state = wire::ShardState::kReady,
                                .slot_count = slot_count};
    for (const uint32_t e : experts) {
      const auto slot = static_cast<uint32_t>(shard.held.size());
      shard.held.push_back({kLayer, ExpertId{e}, slot, 1});
    }
    shards_[ShardId{id}] = std::move(shard);
  }
  RepairActions Next(UnitRepair& repair, bool views_quiet = true) {
    std::vector<RepairShard> shards;
    std::vector<PlacedUnit> units;
    for (const auto& [id, shard] : shards_) {
      shards.push_back({&shard, !down_.contains(id), leaving_.contains(id), busy_.contains(id)});
      for (const wire::HeldUnit& held : shard.held) {
        if (hidden_.contains({id, {held.layer, held.expert}})) continue;
        units.push_back({held.layer, held.expert, {id, held.slot, 1}});
      }
    }
    const auto placement = Placement::Build(Epoch{1}, {2, 4}, units);
    EXPECT_TRUE(placement.ok()) << placement.status();
    repair.Saw(*placement);
    return repair.Next(*placement, shards, views_quiet, now_);
  }
  void Obey(UnitRepair& repair, const RepairActions& actions) {
    for (const auto& [id, units] : actions.hide) {
      for (const Unit& unit : units) hidden_.insert({id, unit});
    }
    for (const auto& [id, units] : actions.unhide) {
      for (const Unit& unit : units) hidden_.erase({id, unit});
    }
    for (const ShardOrder& order : actions.orders) {
      auto& held = shards_[order.shard].held;
      for (const UnitToLoad& unit : order.order.load) {
        held.push_back({unit.layer, unit.expert, unit.slot, 1});
      }
      for (const wire::HeldUnit& unit : order.order.drop) {
        std::erase(held, unit);
        hidden_.erase({order.shard, {unit.layer, unit.expert}});
      }
      repair.Finished(order.shard, absl::OkStatus(), now_);
    }
  }
  size_t HeldBy(uint32_t id) { return shards_[ShardId{id}].held.size(); }

  absl::Duration now_ = absl::Seconds(50);
  std::map<ShardId, wire::ShardDescriptor> shards_;
  std::set<ShardId> down_;
  std::set<ShardId> leaving_;
  std::set<ShardId> busy_;
  std::set<std::pair<ShardId, Unit>> hidden_;
};

inline size_t HiddenBy(const RepairActions& actions) {
  size_t hidden = 0;
  for (const auto& [shard, units] : actions.hide) hidden += units.size();
  return hidden;
}

}  // namespace tessera::router
