#include "services/router/cluster/unit_repair.h"

#include <algorithm>
#include <cmath>
#include <iterator>
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

absl::Duration PauseAfter(uint32_t failures_before, absl::Duration first, absl::Duration max) {
  const double doublings = std::min<uint32_t>(failures_before, 16);
  return std::min(max, first * std::exp2(doublings));
}

struct UnitRepair::Candidates {
  std::vector<Unit> wanted;
  std::vector<Unit> relocated;
  std::vector<Unit> evacuated;
  std::vector<Unit> background;  // lost
  std::vector<Unit> thin;
};

struct UnitRepair::Room {
  const wire::ShardDescriptor* shard = nullptr;
  bool is_base = true;
  std::set<Unit> held;
  std::vector<uint32_t> free;  // slots, the next one last
  bool ordered = false;        // in this round
  bool later = false;          // works on an order, or refused a slot: there may be room soon
  bool busy = false;           // takes no order now
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

bool UnitRepair::IsBase(const World& world, const RepairShard& shard) {
  return !world.has_base || !shard.shard->burst;
}

UnitRepair::Copies UnitRepair::LiveCopies(const World& world, const Unit& unit,
                                          std::span<const ShardId> besides) const {
  Copies copies;
  for (const Replica& replica : world.placement.replicas(unit.first, unit.second)) {
    if (std::ranges::find(besides, replica.shard) != besides.end()) continue;
    const RepairShard* shard = FindShard(world.shards, replica.shard);
    if (!Counts(shard)) continue;
    ++copies.live;
    copies.base += IsBase(world, *shard);
  }
  return copies;
}

size_t UnitRepair::OnlyOn(ShardId id, const Placement& placement,
                          std::span<const RepairShard> shards) {
  const bool has_base = std::ranges::any_of(shards, [id](const RepairShard& shard) {
    return shard.shard->shard != id && Counts(&shard) && !shard.shard->burst;
  });
  const World world{placement, shards, has_base};
  size_t only = 0;
  for (const PlacedUnit& placed : placement.Units()) {
    if (placed.replica.shard != id) continue;
    bool elsewhere = false;
    for (const Replica& replica : placement.replicas(placed.layer, placed.expert)) {
      const RepairShard* shard = replica.shard == id ? nullptr : FindShard(shards, replica.shard);
      elsewhere = elsewhere || (Counts(shard) && IsBase(world, *shard));
    }
    only += !elsewhere;
  }
  return only;
}

UnitRepair::Candidates UnitRepair::Survey(const World& world, absl::Duration now) {
  std::erase_if(wanted_, [&](const auto& w) { return now - w.second.at > config_.wanted_life; });
  if (!first_round_at_) first_round_at_ = now;
  const bool beginning = now - *first_round_at_ < config_.first_grace;
  std::set<Unit> under_way;
  for (const auto& [shard, flight] : in_flight_) {
    for (const UnitToLoad& unit : flight.units) under_way.insert({unit.layer, unit.expert});
  }
  Candidates candidates;
  without_copy_ = 0;
  thin_ = 0;
  without_base_ = 0;
  copies_min_ = units_.empty() ? 0 : SIZE_MAX;
  for (auto& [unit, state] : units_) {
    const auto [copies, base] = LiveCopies(world, unit, {});
    copies_min_ = std::min(copies_min_, std::max<size_t>(base, copies > 0));
    without_copy_ += copies == 0;
    without_base_ += base == 0;
    auto wish = wanted_.find(unit);
    if (wish != wanted_.end() && LiveCopies(world, unit, wish->second.unfit).live > 0) {
      wanted_.erase(wish);
      wish = wanted_.end();
    }
    thin_ += base < config_.copies_wanted;
    if (base >= config_.copies_wanted) state.thin_at.reset();
    if (base < config_.copies_wanted && !state.thin_at) state.thin_at = now;
    if (base > 0) state.lost_at.reset();
    if (base == 0 && state.held_once && !state.lost_at) state.lost_at = now;
    if (under_way.contains(unit) || now < state.retry_at) continue;
    const auto replicas = world.placement.replicas(unit.first, unit.second);
    if (beginning && (!replicas.empty() || !state.held_once)) continue;
    const bool leaving = std::ranges::any_of(replicas, [&](const Replica& replica) {
      const RepairShard* shard = FindShard(world.shards, replica.shard);
      return shard != nullptr && shard->leaving;
    });
    if (wish != wanted_.end()) {
      (copies == 0 ? candidates.wanted : candidates.relocated).push_back(unit);
    } else if (base == 0 && leaving) {
      candidates.evacuated.push_back(unit);
    } else if (base == 0) {
      if (config_.restore_lost && state.lost_at && now - *state.lost_at >= config_.restore_after) {
        candidates.background.push_back(unit);
      }
    } else if (state.thin_at && config_.restore_thin &&
               now - *state.thin_at >= config_.restore_thin_after) {
      candidates.thin.push_back(unit);
    }
  }
  return candidates;
}

std::vector<UnitRepair::Room> UnitRepair::Rooms(const World& world, absl::Duration now) {
  std::erase_if(avoid_, [&](const auto& a) { return now >= a.second; });
  std::erase_if(failed_, [&](const auto& f) { return now >= f.second; });
  std::vector<Room> rooms;
  for (const RepairShard& shard : world.shards) {
    if (!Counts(&shard)) continue;
    Room room;
    room.shard = shard.shard;
    room.is_base = IsBase(world, shard);
    room.later = room.busy = shard.busy || in_flight_.contains(shard.shard->shard);
    std::vector<bool> used(shard.shard->slot_count);
    for (const wire::HeldUnit& held : shard.shard->held) {
      room.held.insert({held.layer, held.expert});
      if (held.slot < used.size()) used[held.slot] = true;
    }
    for (uint32_t slot = 0; slot < used.size(); ++slot) {
      if (used[slot]) continue;
      if (avoid_.contains({shard.shard->shard, slot})) {
        room.later = true;
      } else {
        room.free.push_back(slot);
      }
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

// A shard that did not fail at it lately takes a unit before others; burst shards come last; then a
// shard in a zone without a copy, then the one that holds the fewest, of equal ones the one with
// less to load. A shard that got an order of higher urgency in this round takes no other.
size_t UnitRepair::Place(const World& world, const std::vector<Unit>& units, const Urgency& urgency,
                         std::vector<Room>& rooms, RepairActions& actions) {
  std::map<ShardId, ShardOrder> orders;
  size_t unplaceable = 0;
  for (const Unit& unit : units) {
    const std::vector<const wire::ShardDescriptor*> holders = HoldersOf(world, unit);
    const bool burst_may =
        !urgency.lasting && (urgency.at_once || LiveCopies(world, unit, {}).base > 0);
    Room* best = nullptr;
    std::tuple<bool, bool, bool, size_t, size_t> best_load;
    bool room_later = false;
    for (Room& room : rooms) {
      if (room.held.contains(unit) || (!room.is_base && !burst_may)) continue;
      room_later = room_later || room.later || !room.free.empty();
      const auto it = orders.find(room.shard->shard);
      const size_t ordered = it == orders.end() ? 0 : it->second.order.load.size();
      if (room.busy || room.free.empty() || room.ordered || ordered >= urgency.units_max) continue;
      const bool zone_has_one =
          !room.shard->zone.empty() && std::ranges::any_of(holders, [&](const auto* holder) {
            return holder->zone == room.shard->zone;
          });
      const bool has_failed = failed_.contains({room.shard->shard, unit});
      const std::tuple load(has_failed, !room.is_base, zone_has_one, room.held.size(), ordered);
      if (best == nullptr || load < best_load) {
        best = &room;
        best_load = load;
      }
    }
    if (best == nullptr) {
      unplaceable += !room_later && in_flight_.empty() && actions.orders.empty();
      continue;
    }
    ShardOrder& order = orders[best->shard->shard];
    order.shard = best->shard->shard;
    order.incarnation = best->shard->incarnation;
    order.order.bytes_per_second_max = urgency.rate;
    const size_t source = holders.empty() ? 0 : units_[unit].failures % holders.size();
    order.order.load.push_back({unit.first, unit.second, best->free.back(),
                                holders.empty() ? "" : holders[source]->grpc_address});
    best->free.pop_back();
    best->held.insert(unit);
  }
  for (Room& room : rooms) room.ordered = room.ordered || orders.contains(room.shard->shard);
  for (auto& [shard, order] : orders) {
    in_flight_[shard] = {order.incarnation, order.order.load, {}};
    actions.orders.push_back(std::move(order));
  }
  return unplaceable;
}

void UnitRepair::ForgetKept(std::span<const RepairShard> shards, absl::Duration now) {
  for (auto it = kept_.begin(); it != kept_.end();) {
    const auto& [id, unit] = it->first;
    Kept& kept = it->second;
    const RepairShard* shard = FindShard(shards, id);
    const bool reborn = shard != nullptr && shard->shard->incarnation != kept.incarnation;
    if (shard != nullptr && Holds(*shard->shard, unit)) {
      kept.absent_since.reset();
    } else if (!kept.absent_since) {
      kept.absent_since = now;
    }
    const bool gone = kept.absent_since && now - *kept.absent_since >= config_.kept_absence_max;
    it = reborn || gone ? kept_.erase(it) : std::next(it);
  }
}

void UnitRepair::AdoptExtras(const World& world) {
  for (const RepairShard& each : world.shards) {
    const wire::ShardDescriptor& shard = *each.shard;
    if (!Counts(&each) || !IsBase(world, each) || each.busy || in_flight_.contains(shard.shard))
      continue;
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
  kept_[{shard, unit}] = {.incarnation = incarnation};
  extras_.erase({shard, unit});
}

bool UnitRepair::Enough(const Copies& others, bool on_base) const {
  return others.base >= (on_base ? config_.copies_wanted : 1) &&
         others.live >= config_.copies_wanted;
}

void UnitRepair::MarkSurplus(const World& world, absl::Duration now, RepairActions& actions) {
  std::map<ShardId, std::vector<Unit>> unhide;
  for (auto it = extras_.begin(); it != extras_.end();) {
    const auto& [id, unit] = it->first;
    Extra& extra = it->second;
    const RepairShard* shard = FindShard(world.shards, id);
    if (shard == nullptr || shard->shard->incarnation != extra.incarnation ||
        !Holds(*shard->shard, unit)) {
      it = extras_.erase(it);
      continue;
    }
    ++it;
    const Copies others = LiveCopies(world, unit, std::span(&id, 1));
    if (Enough(others, IsBase(world, *shard))) {
      if (!extra.surplus_at) extra.surplus_at = now;
      continue;
    }
    if (extra.hidden_at) unhide[id].push_back(unit);
    extra = {.incarnation = extra.incarnation};
  }
  for (auto& entry : unhide) actions.unhide.push_back(std::move(entry));
}

void UnitRepair::AdoptSurplus(const World& world, bool on_base, size_t wanted, absl::Duration now) {
  for (const auto& [key, extra] : extras_) {
    const RepairShard* shard = FindShard(world.shards, key.first);
    if (extra.surplus_at && IsBase(world, *shard) == on_base && wanted > 0) --wanted;
  }
  for (auto it = units_.begin(); it != units_.end() && wanted > 0; ++it) {
    const Unit& unit = it->first;
    Copies copies = LiveCopies(world, unit, {});
    for (const Replica& replica : world.placement.replicas(unit.first, unit.second)) {
      const RepairShard* shard = FindShard(world.shards, replica.shard);
      if (wanted == 0) break;
      if (!Counts(shard) || extras_.contains({replica.shard, unit})) continue;
      if (IsBase(world, *shard) != on_base) continue;
      if (!Enough({.live = copies.live - 1, .base = copies.base - on_base}, on_base)) break;
      extras_[{replica.shard, unit}] = {.incarnation = shard->shard->incarnation,
                                        .surplus_at = now};
      kept_.erase({replica.shard, unit});
      --copies.live;
      copies.base -= on_base;
      --wanted;
    }
  }
}

void UnitRepair::LetGo(const World& world, bool views_quiet, absl::Duration now,
                       RepairActions& actions) {
  std::map<ShardId, std::vector<Unit>> hide;
  std::map<ShardId, ShardOrder> drops;
  std::map<Unit, Copies> hidden_now;  // of two copies that could go, one does
  // The room is needed now: surplus does not wait for its owner to prove itself.
  const absl::Duration grace = unplaceable_ > 0 ? absl::ZeroDuration() : config_.surplus_grace;
  for (auto& [key, extra] : extras_) {
    const auto& [id, unit] = key;
    if (!extra.surplus_at) continue;
    const RepairShard& shard = *FindShard(world.shards, id);
    const auto replicas = world.placement.replicas(unit.first, unit.second);
    const bool mapped = std::ranges::any_of(
        replicas, [id = id](const Replica& replica) { return replica.shard == id; });
    if (mapped) extra.hidden_at.reset();  // its shard was away for a moment and registered again
    if (!extra.hidden_at) {
      const Copies others = LiveCopies(world, unit, std::span(&id, 1));
      Copies& going = hidden_now[unit];
      if (now - *extra.surplus_at < grace || others.live < going.live || others.base < going.base ||
          !Enough({.live = others.live - going.live, .base = others.base - going.base},
                  IsBase(world, shard))) {
        continue;
      }
      extra.hidden_at = now;
      ++going.live;
      going.base += IsBase(world, shard);
      hide[id].push_back(unit);
      continue;
    }
    if (now - *extra.hidden_at < config_.drop_delay || now < extra.drop_at || !views_quiet ||
        !shard.usable || shard.busy || in_flight_.contains(id)) {
      continue;
    }
    ShardOrder& order = drops[id];
    order.shard = id;
    order.incarnation = extra.incarnation;
    std::ranges::copy_if(shard.shard->held, std::back_inserter(order.order.drop),
                         [&](const wire::HeldUnit& held) {
                           return Unit{held.layer, held.expert} == unit;
                         });
  }
  for (auto& entry : hide) actions.hide.push_back(std::move(entry));
  for (auto& [id, order] : drops) {
    Flight& flight = in_flight_[id];
    flight.incarnation = order.incarnation;
    for (const wire::HeldUnit& unit : order.order.drop) {
      flight.drops.emplace_back(unit.layer, unit.expert);
    }
    actions.orders.push_back(std::move(order));
  }
}

void UnitRepair::CountSurplus(const World& world) {
  surplus_ = base_surplus_ = 0;
  for (const auto& [key, extra] : extras_) {
    if (!extra.surplus_at) continue;
    const RepairShard* shard = FindShard(world.shards, key.first);
    ++surplus_;
    base_surplus_ += Counts(shard) && IsBase(world, *shard);
  }
}

RepairActions UnitRepair::Next(const Placement& placement, std::span<const RepairShard> shards,
                               bool views_quiet, absl::Duration now) {
  RepairActions actions;
  unseen_end_ = false;
  const bool has_base = std::ranges::any_of(
      shards, [](const RepairShard& shard) { return Counts(&shard) && !shard.shard->burst; });
  const World world{placement, shards, has_base};
  const Candidates candidates = Survey(world, now);
  unplaceable_ = unplaceable_wanted_ = 0;
  if (!candidates.wanted.empty() || !candidates.relocated.empty() ||
      !candidates.evacuated.empty() || !candidates.background.empty() || !candidates.thin.empty()) {
    std::vector<Room> rooms = Rooms(world, now);
    unplaceable_wanted_ = Place(world, candidates.wanted, {.at_once = true}, rooms, actions);
    // These have a copy, if a slow one: they are not missing.
    Place(world, candidates.relocated, {.at_once = true}, rooms, actions);
    unplaceable_ = unplaceable_wanted_;
    unplaceable_ += Place(world, candidates.evacuated, {.units_max = config_.evacuated_units_max},
                          rooms, actions);
    unplaceable_ += Place(world, candidates.background,
                          {.units_max = config_.background_units_max,
                           .rate = config_.background_bytes_per_second_max},
                          rooms, actions);
    Place(world, candidates.thin,
          {.units_max = config_.background_units_max,
           .rate = config_.background_bytes_per_second_max,
           .lasting = true},
          rooms, actions);
  }
  if (!config_.drops) return actions;
  ForgetKept(shards, now);
  if (config_.adopts) AdoptExtras(world);
  MarkSurplus(world, now, actions);
  if (unplaceable_ > 0) AdoptSurplus(world, /*on_base=*/true, unplaceable_, now);
  if (unplaceable_wanted_ > 0) AdoptSurplus(world, /*on_base=*/false, unplaceable_wanted_, now);
  LetGo(world, views_quiet, now, actions);
  CountSurplus(world);
  return actions;
}

void UnitRepair::Finished(ShardId shard, const absl::Status& status, absl::Duration now) {
  const auto it = in_flight_.find(shard);
  TESSERA_CHECK(it != in_flight_.end());
  const Flight flight = std::move(it->second);
  in_flight_.erase(it);
  unseen_end_ = true;
  for (const Unit& unit : flight.drops) {
    const auto extra = extras_.find({shard, unit});
    if (status.ok() || extra == extras_.end()) continue;
    extra->second.drop_at =
        now + PauseAfter(extra->second.drops_failed++, config_.drop_pause, config_.drop_pause_max);
  }
  const bool slots_refused = absl::IsResourceExhausted(status);
  for (const UnitToLoad& unit : flight.units) {
    const Unit key{unit.layer, unit.expert};
    if (status.ok()) {
      units_[key].failures = 0;
      if (config_.drops) extras_[{shard, key}] = {.incarnation = flight.incarnation};
      // The placement shows it by now; should it not, the order is not repeated without pause.
      units_[key].retry_at = now + config_.retry_pause / 8;
    } else {
      units_[key].retry_at = now + config_.retry_pause;
      // Somebody else filled it, which the next heartbeat tells; it may be the last one free.
      if (slots_refused) {
        avoid_[{shard, unit.slot}] = now + 2 * config_.retry_pause;
      } else {
        ++units_[key].failures;
        failed_[{shard, key}] = now + config_.failure_memory;
      }
    }
  }
}

}  // namespace tessera::router
