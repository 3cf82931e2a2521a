#include "services/router/cluster/unit_repair.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "common/base/check.h"

namespace tessera::router {
namespace {

const RepairShard* FindShard(std::span<const RepairShard> shards, ShardId id) {
  const auto it =
      std::lower_bound(shards.begin(), shards.end(), id,
                       [](const RepairShard& s, ShardId other) { return s.shard->shard < other; });
  return it != shards.end() && it->shard->shard == id ? &*it : nullptr;
}

bool Counts(const RepairShard* shard) {
  return shard != nullptr && shard->usable && !shard->leaving;
}

bool Holds(const wire::ShardDescriptor& shard, const Unit& unit) {
  return std::any_of(shard.held.begin(), shard.held.end(), [&](const wire::HeldUnit& held) {
    return Unit{held.layer, held.expert} == unit;
  });
}

}  // namespace

struct UnitRepair::Candidates {
  std::vector<Unit> wanted;
  std::vector<Unit> relocated;
  std::vector<Unit> evacuated;
  std::vector<Unit> background;  // lost, then thin
};

struct UnitRepair::Room {
  const wire::ShardDescriptor* shard = nullptr;
  std::set<Unit> held;
  std::vector<uint32_t> free;  // slots, the next one last
  bool ordered = false;        // in this round
};

UnitRepair::UnitRepair(UnitRepairConfig config) : config_(std::move(config)) {
  TESSERA_CHECK(config_.copies_wanted >= 1);
  for (const LayerIndex layer : config_.moe_layers) {
    for (uint32_t e = 0; e < config_.expert_count; ++e) units_[{layer, ExpertId{e}}] = {};
  }
}

void UnitRepair::Want(LayerIndex layer, std::span<const ExpertId> experts,
                      std::span<const ShardId> unfit, absl::Duration now) {
  for (const ExpertId expert : experts) {
    const Unit unit{layer, expert};
    if (units_.contains(unit)) wanted_[unit] = {now, {unfit.begin(), unfit.end()}};
  }
}

void UnitRepair::Saw(const Placement& placement) {
  for (const PlacedUnit& placed : placement.Units()) {
    const auto it = units_.find({placed.layer, placed.expert});
    if (it != units_.end()) it->second.held_once = true;
  }
}

size_t UnitRepair::LiveCopies(const Placement& placement, std::span<const RepairShard> shards,
                              const Unit& unit, std::span<const ShardId> besides) const {
  size_t copies = 0;
  for (const Replica& replica : placement.replicas(unit.first, unit.second)) {
    if (std::ranges::find(besides, replica.shard) != besides.end()) continue;
    copies += Counts(FindShard(shards, replica.shard));
  }
  return copies;
}

size_t UnitRepair::OnlyOn(ShardId id, const Placement& placement,
                          std::span<const RepairShard> shards) {
  size_t only = 0;
  for (const PlacedUnit& placed : placement.Units()) {
    if (placed.replica.shard != id) continue;
    bool elsewhere = false;
    for (const Replica& replica : placement.replicas(placed.layer, placed.expert)) {
      elsewhere = elsewhere || (replica.shard != id && Counts(FindShard(shards, replica.shard)));
    }
    only += !elsewhere;
  }
  return only;
}

UnitRepair::Candidates UnitRepair::Survey(const Placement& placement,
                                          std::span<const RepairShard> shards, absl::Duration now) {
  std::erase_if(wanted_, [&](const auto& w) { return now - w.second.at > config_.wanted_life; });
  if (!first_round_at_) first_round_at_ = now;
  const bool beginning = now - *first_round_at_ < config_.first_grace;
  std::set<Unit> under_way;
  for (const auto& [shard, flight] : in_flight_) {
    for (const UnitToLoad& unit : flight.units) under_way.insert({unit.layer, unit.expert});
  }
  Candidates candidates;
  std::vector<Unit> thin;
  without_copy_ = 0;
  copies_min_ = units_.empty() ? 0 : SIZE_MAX;
  for (auto& [unit, state] : units_) {
    const size_t copies = LiveCopies(placement, shards, unit, {});
    copies_min_ = std::min(copies_min_, copies);
    auto wish = wanted_.find(unit);
    if (wish != wanted_.end() && LiveCopies(placement, shards, unit, wish->second.unfit) > 0) {
      wanted_.erase(wish);
      wish = wanted_.end();
    }
    if (copies > 0) {
      state.lost_at.reset();
    } else {
      ++without_copy_;
      if (state.held_once && !state.lost_at) state.lost_at = now;
    }
    if (under_way.contains(unit) || now < state.retry_at) continue;
    const bool placed = !placement.replicas(unit.first, unit.second).empty();
    if (beginning && (placed || !state.held_once)) continue;
    const bool leaving = std::ranges::any_of(
        placement.replicas(unit.first, unit.second), [&](const Replica& replica) {
          const RepairShard* shard = FindShard(shards, replica.shard);
          return shard != nullptr && shard->leaving;
        });
    if (wish != wanted_.end()) {
      (copies == 0 ? candidates.wanted : candidates.relocated).push_back(unit);
    } else if (copies == 0 && leaving) {
      candidates.evacuated.push_back(unit);
    } else if (copies == 0) {
      if (config_.restore_lost && state.lost_at && now - *state.lost_at >= config_.restore_after) {
        candidates.background.push_back(unit);
      }
    } else if (copies < config_.copies_wanted && config_.restore_thin) {
      thin.push_back(unit);
    }
  }
  candidates.background.insert(candidates.background.end(), thin.begin(), thin.end());
  return candidates;
}

std::vector<UnitRepair::Room> UnitRepair::Rooms(std::span<const RepairShard> shards,
                                                absl::Duration now) {
  std::erase_if(avoid_, [&](const auto& a) { return now >= a.second; });
  std::vector<Room> rooms;
  for (const RepairShard& shard : shards) {
    if (!Counts(&shard) || shard.busy || in_flight_.contains(shard.shard->shard)) continue;
    Room room;
    room.shard = shard.shard;
    std::vector<bool> used(shard.shard->slot_count);
    for (const wire::HeldUnit& held : shard.shard->held) {
      room.held.insert({held.layer, held.expert});
      if (held.slot < used.size()) used[held.slot] = true;
    }
    for (uint32_t slot = 0; slot < used.size(); ++slot) {
      if (!used[slot] && !avoid_.contains({shard.shard->shard, slot})) room.free.push_back(slot);
    }
    if (!config_.slots_from_top) std::reverse(room.free.begin(), room.free.end());
    rooms.push_back(std::move(room));
  }
  return rooms;
}

std::vector<const wire::ShardDescriptor*> UnitRepair::HoldersOf(const World& world,
                                                                const Unit& unit) {
  std::vector<const wire::ShardDescriptor*> holders;
  for (const Replica& replica : world.placement.replicas(unit.first, unit.second)) {
    const RepairShard* shard = FindShard(world.shards, replica.shard);
    if (shard != nullptr && shard->usable) holders.push_back(shard->shard);
  }
  return holders;
}

// A shard in a zone without a copy takes a unit before others; then the one that holds the fewest,
// of equal ones the one with less to load. A shard that got an order of higher urgency in this
// round takes no other.
void UnitRepair::Place(const World& world, const std::vector<Unit>& units, size_t units_max,
                       uint32_t rate, std::vector<Room>& rooms, RepairActions& actions) {
  std::map<ShardId, ShardOrder> orders;
  for (const Unit& unit : units) {
    const std::vector<const wire::ShardDescriptor*> holders = HoldersOf(world, unit);
    Room* best = nullptr;
    std::tuple<bool, size_t, size_t> best_load;
    bool room_later = false;
    for (Room& room : rooms) {
      if (room.free.empty() || room.held.contains(unit)) continue;
      room_later = true;
      const auto it = orders.find(room.shard->shard);
      const size_t ordered = it == orders.end() ? 0 : it->second.order.load.size();
      if (room.ordered || ordered >= units_max) continue;
      const bool zone_has_one =
          !room.shard->zone.empty() && std::ranges::any_of(holders, [&](const auto* holder) {
            return holder->zone == room.shard->zone;
          });
      const std::tuple load(zone_has_one, room.held.size(), ordered);
      if (best == nullptr || load < best_load) {
        best = &room;
        best_load = load;
      }
    }
    if (best == nullptr) {
      unplaceable_ += !room_later && in_flight_.empty() && actions.orders.empty();
      continue;
    }
    ShardOrder& order = orders[best->shard->shard];
    order.shard = best->shard->shard;
    order.incarnation = best->shard->incarnation;
    order.order.bytes_per_second_max = rate;
    order.order.load.push_back({unit.first, unit.second, best->free.back(),
                                holders.empty() ? "" : holders.front()->grpc_address});
    best->free.pop_back();
    best->held.insert(unit);
  }
  for (Room& room : rooms) room.ordered = room.ordered || orders.contains(room.shard->shard);
  for (auto& [shard, order] : orders) {
    in_flight_[shard] = {order.incarnation, order.order.load};
    actions.orders.push_back(std::move(order));
  }
}

void UnitRepair::AdoptExtras(std::span<const RepairShard> shards) {
  std::erase_if(kept_, [&](const auto& kept) {
    const RepairShard* shard = FindShard(shards, kept.first.first);
    return shard == nullptr || shard->shard->incarnation != kept.second ||
           !Holds(*shard->shard, kept.first.second);
  });
  for (const RepairShard& each : shards) {
    const wire::ShardDescriptor& shard = *each.shard;
    if (!Counts(&each) || each.busy || in_flight_.contains(shard.shard)) continue;
    const uint32_t base_slots = shard.slot_count - std::min(shard.slots_spare, shard.slot_count);
    for (const wire::HeldUnit& held : shard.held) {
      if (held.slot < base_slots || !units_.contains({held.layer, held.expert})) continue;
      if (kept_.contains({shard.shard, {held.layer, held.expert}})) continue;
      extras_.try_emplace({shard.shard, {held.layer, held.expert}},
                          Extra{.incarnation = shard.incarnation});
    }
  }
}

void UnitRepair::Keep(ShardId shard, uint64_t incarnation, const Unit& unit) {
  kept_[{shard, unit}] = incarnation;
  extras_.erase({shard, unit});
}

void UnitRepair::AdoptSurplus(const Placement& placement, std::span<const RepairShard> shards,
                              absl::Duration now) {
  size_t wanted = unplaceable_ - std::min(unplaceable_, extras_.size());
  for (auto it = units_.begin(); it != units_.end() && wanted > 0; ++it) {
    const auto& [unit, state] = *it;
    size_t copies = LiveCopies(placement, shards, unit, {});
    for (const Replica& replica : placement.replicas(unit.first, unit.second)) {
      const RepairShard* shard = FindShard(shards, replica.shard);
      if (copies <= config_.copies_wanted || wanted == 0) break;
      if (!Counts(shard) || extras_.contains({replica.shard, unit})) continue;
      extras_[{replica.shard, unit}] = {.incarnation = shard->shard->incarnation,
                                        .surplus_at = now};
      kept_.erase({replica.shard, unit});
      --copies;
      --wanted;
    }
  }
}

void UnitRepair::Surplus(const Placement& placement, std::span<const RepairShard> shards,
                         bool views_quiet, absl::Duration now, RepairActions& actions) {
  std::map<ShardId, std::vector<Unit>> hide;
  std::map<ShardId, std::vector<Unit>> unhide;
  std::map<ShardId, ShardOrder> drops;
  std::map<Unit, size_t> hidden_now;  // of two copies that could go, one does
  // The room is needed now: surplus does not wait for its owner to prove itself.
  const absl::Duration grace = unplaceable_ > 0 ? absl::ZeroDuration() : config_.surplus_grace;
  for (auto it = extras_.begin(); it != extras_.end();) {
    const auto& [id, unit] = it->first;
    Extra& extra = it->second;
    const RepairShard* shard = FindShard(shards, id);
    if (shard == nullptr || shard->shard->incarnation != extra.incarnation ||
        !Holds(*shard->shard, unit)) {
      it = extras_.erase(it);
      continue;
    }
    ++it;
    const size_t others = LiveCopies(placement, shards, unit, std::span(&id, 1));
    const bool enough = others >= config_.copies_wanted + hidden_now[unit];
    if (!enough) {
      if (extra.hidden_at) unhide[id].push_back(unit);
      extra.surplus_at.reset();
      extra.hidden_at.reset();
      continue;
    }
    if (!extra.surplus_at) extra.surplus_at = now;
    if (!extra.hidden_at && now - *extra.surplus_at >= grace) {
      extra.hidden_at = now;
      ++hidden_now[unit];
      hide[id].push_back(unit);
      continue;
    }
    if (extra.hidden_at && now - *extra.hidden_at >= config_.drop_delay && views_quiet &&
        shard->usable && !shard->busy && !in_flight_.contains(id)) {
      ShardOrder& order = drops[id];
      order.shard = id;
      order.incarnation = extra.incarnation;
      for (const wire::HeldUnit& held : shard->shard->held) {
        if (Unit{held.layer, held.expert} == unit) order.order.drop.push_back(held);
      }
    }
  }
  for (auto& entry : hide) actions.hide.push_back(std::move(entry));
  for (auto& entry : unhide) actions.unhide.push_back(std::move(entry));
  for (auto& [id, order] : drops) {
    in_flight_[id] = {order.incarnation, {}};
    actions.orders.push_back(std::move(order));
  }
}

RepairActions UnitRepair::Next(const Placement& placement, std::span<const RepairShard> shards,
                               bool views_quiet, absl::Duration now) {
  RepairActions actions;
  const Candidates candidates = Survey(placement, shards, now);
  unplaceable_ = 0;
  if (!candidates.wanted.empty() || !candidates.relocated.empty() ||
      !candidates.evacuated.empty() || !candidates.background.empty()) {
    std::vector<Room> rooms = Rooms(shards, now);
    const World world{placement, shards};
    Place(world, candidates.wanted, SIZE_MAX, 0, rooms, actions);
    const size_t unplaceable = unplaceable_;
    Place(world, candidates.relocated, SIZE_MAX, 0, rooms, actions);
    unplaceable_ = unplaceable;  // they have a copy, if a slow one
    Place(world, candidates.evacuated, config_.evacuated_units_max, 0, rooms, actions);
    Place(world, candidates.background, config_.background_units_max,
          config_.background_bytes_per_second_max, rooms, actions);
  }
  if (config_.drops) AdoptExtras(shards);
  if (config_.drops && unplaceable_ > 0) AdoptSurplus(placement, shards, now);
  if (config_.drops) Surplus(placement, shards, views_quiet, now, actions);
  return actions;
}

void UnitRepair::Finished(ShardId shard, const absl::Status& status, absl::Duration now) {
  const auto it = in_flight_.find(shard);
  TESSERA_CHECK(it != in_flight_.end());
  const Flight flight = std::move(it->second);
  in_flight_.erase(it);
  const bool slots_refused = absl::IsResourceExhausted(status);
  for (const UnitToLoad& unit : flight.units) {
    const Unit key{unit.layer, unit.expert};
    if (status.ok()) {
      if (config_.drops) extras_[{shard, key}] = {.incarnation = flight.incarnation};
      // The placement shows it by now; should it not, the order is not repeated without pause.
      units_[key].retry_at = now + config_.retry_pause / 8;
    } else {
      units_[key].retry_at = now + config_.retry_pause;
      // Somebody else filled it, which the next heartbeat tells; it may be the last one free.
      if (slots_refused) avoid_[{shard, unit.slot}] = now + 2 * config_.retry_pause;
    }
  }
}

}  // namespace tessera::router
