#pragma once

// Decides which shard loads which units, and lets superfluous copies go again. A state machine:
// time and the cluster's state come in, orders come out. No gRPC, no threads.
//
// In this order of urgency:
//   wanted     a step waits for it: at once, exactly the units asked for
//   relocated  the same, while a shard that answers too late holds it
//   evacuated  its only copies lie on a shard that leaves: at once
//   lost       it had a copy and has none, or on burst shards only: after a while, a few at a time
//   thin       it has fewer copies on base shards than wished: as lost, if so configured; that no
//              shard has room for it is no trouble
// A shard works on one order at a time; what is asked meanwhile stands in the next one. A copy made
// in need, by whichever router's order, is surplus once enough others live: it leaves the map first
// and the shard's memory later. Copies that a shard was started with are never let go.
// Where units find no slot, as many copies that others have too are surplus, whoever made them; a
// shard that works on an order may have a slot afterwards.
// Burst shards may go at any time: a copy there does not stand for one on another shard, and only a
// step that waits, or a unit that has a base copy, is given one. Where all shards are burst shards
// they are base shards.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/moe/placement.h"
#include "common/wire/placement_wire.h"
#include "services/router/cluster/shard_calls.h"
#include "services/router/cluster/shard_registry.h"

namespace tessera::router {

struct UnitRepairConfig {
  std::vector<LayerIndex> moe_layers;  // those that have experts
  uint32_t expert_count = 0;           // of each
  uint32_t copies_wanted = 1;          // live copies a unit should have; >= 1
  bool restore_lost = true;            // in the background, before a step asks
  bool restore_thin = false;           // copies beyond the first, too
  // A unit with too few copies on shards that stay for so long is given another one.
  absl::Duration restore_thin_after = absl::ZeroDuration();
  // A unit without a copy for so long is restored; a shard that is back sooner saves the work.
  absl::Duration restore_after = absl::Milliseconds(500);
  // After the first round nothing is loaded for so long that a shard holds out of reach, or none
  // was seen to hold: when a router starts again, shards that have it are on their way.
  absl::Duration first_grace = absl::ZeroDuration();
  uint32_t background_units_max = 8;              // in one order; wanted units wait behind it
  uint32_t background_bytes_per_second_max = 0;   // of one shard's reading; 0: no limit
  uint32_t evacuated_units_max = 64;              // in one order
  absl::Duration wanted_life = absl::Seconds(5);  // a wish not repeated for so long is dropped
  absl::Duration retry_pause = absl::Milliseconds(250);  // after an order failed
  // A shard that could not load a unit is asked for it again so soon only if no other has room.
  absl::Duration failure_memory = absl::Seconds(5);
  absl::Duration surplus_grace =
      absl::Seconds(10);  // before a superfluous copy goes, if none lacks room
  absl::Duration drop_delay = absl::Seconds(1);  // between leaving the map and memory
  // After a drop that failed, doubled with each further one up to drop_pause_max.
  absl::Duration drop_pause = absl::Milliseconds(250);
  absl::Duration drop_pause_max = absl::Seconds(10);
  // A follower fills from the top, so that it and the leader seldom choose the same slot.
  bool slots_from_top = false;
  bool drops = true;  // false: leave surplus copies to the leader
  // Copies in spare slots that others ordered count as made in need. False where a balancer fills
  // spare slots: a leader that starts cannot tell which those are.
  bool adopts = true;
  // A copy made for balance is remembered so long while its shard is away or tells nothing of it.
  absl::Duration kept_absence_max = absl::Seconds(30);
};

// A shard as it is now; `shard.held` is complete, copies outside of the map included.
struct RepairShard {
  const wire::ShardDescriptor* shard = nullptr;
  bool usable = false;   // ready and linked
  bool leaving = false;  // its copies do not count, and nothing is loaded there
  bool busy = false;     // works on somebody else's order
};

struct ShardOrder {
  ShardId shard{};
  uint64_t incarnation = 0;
  LoadOrder order;
  bool balance = false;  // of the migration, not of the repair
};

struct RepairActions {
  std::vector<ShardOrder> orders;  // begin now; Finished is called for each
  std::vector<std::pair<ShardId, std::vector<Unit>>> hide;    // take out of the map
  std::vector<std::pair<ShardId, std::vector<Unit>>> unhide;  // put back
};

// `first` after the first of failures in a row, doubled after each further one up to `max`.
absl::Duration PauseAfter(uint32_t failures_before, absl::Duration first, absl::Duration max);

// Thread-compatible. `now` is Clock::Elapsed().
class UnitRepair {
 public:
  explicit UnitRepair(UnitRepairConfig config);

  // A step waits for these, and copies on the shards `unfit` do not help; units out of range are
  // ignored.
  void Want(LayerIndex layer, std::span<const ExpertId> experts, std::span<const ShardId> unfit,
            absl::Duration now);
  // A new map: what stands in it counts as lost when it no longer does. Units that no shard ever
  // held are not restored unasked, so that a cluster that starts is left alone.
  void Saw(const Placement& placement);
  // What to do now. `shards` ascending by id. `views_quiet`: nobody uses a map from before the last
  // hide any more.
  RepairActions Next(const Placement& placement, std::span<const RepairShard> shards,
                     bool views_quiet, absl::Duration now);
  // The order given to this shard is over.
  void Finished(ShardId shard, const absl::Status& status, absl::Duration now);

  // A copy that was made for balance: not surplus, but where units find no slot.
  void Keep(ShardId shard, uint64_t incarnation, const Unit& unit);

  // As the last Next found it.
  size_t without_copy() const { return without_copy_; }  // units, ever held or not
  // Live ones on base shards, over all units; at least 1 for a unit that any shard holds.
  size_t copies_min() const { return copies_min_; }
  size_t without_base() const { return without_base_; }  // of those on burst shards only, too
  size_t unplaceable() const { return unplaceable_; }    // no shard has a slot for them
  // Copies on base shards are on their way out: what finds no slot may find one then.
  bool makes_room() const { return base_surplus_ > 0; }
  // Units of this shard that no other usable shard holds; burst shards do not count.
  static size_t OnlyOn(ShardId shard, const Placement& placement,
                       std::span<const RepairShard> shards);
  bool busy() const { return !in_flight_.empty(); }
  bool WorksOn(ShardId shard) const { return in_flight_.contains(shard); }
  // Nothing to do before the placement, a link or a wish changes.
  bool idle() const {
    return !busy() && !unseen_end_ && wanted_.empty() && surplus_ == 0 && without_base_ == 0 &&
           copies_min_ >= config_.copies_wanted && thin_ == 0;
  }

 private:
  struct UnitState {
    bool held_once = false;
    std::optional<absl::Duration> lost_at;
    std::optional<absl::Duration> thin_at;
    absl::Duration retry_at;
    uint32_t failures = 0;  // to load it, in a row: each asks another of its holders
  };
  struct Wish {
    absl::Duration at;
    std::vector<ShardId> unfit;
  };
  struct Extra {  // a copy in a spare slot
    uint64_t incarnation = 0;
    std::optional<absl::Duration> surplus_at;
    std::optional<absl::Duration> hidden_at;
    uint32_t drops_failed = 0;  // in a row
    absl::Duration drop_at;     // not before
  };
  struct Kept {
    uint64_t incarnation = 0;
    std::optional<absl::Duration> absent_since;
  };
  struct Flight {
    uint64_t incarnation = 0;
    std::vector<UnitToLoad> units;
    std::vector<Unit> drops;
  };
  using ExtraKey = std::pair<ShardId, Unit>;
  struct Room;        // what a shard could take
  struct Candidates;  // units by urgency

  // What stands behind a decision about a unit.
  struct World {
    const Placement& placement;
    std::span<const RepairShard> shards;
    bool has_base = false;  // some shard that counts is no burst shard
  };
  struct Copies {
    size_t live = 0;
    size_t base = 0;  // of those that count as base copies
  };
  static bool IsBase(const World& world, const RepairShard& shard);
  Copies LiveCopies(const World& world, const Unit& unit, std::span<const ShardId> besides) const;
  // Beside these one more is surplus: on a base shard if as many as wanted are.
  bool Enough(const Copies& others, bool on_base) const;
  Candidates Survey(const World& world, absl::Duration now);
  std::vector<Room> Rooms(const World& world, absl::Duration now);
  // How a list of units is placed.
  struct Urgency {
    size_t units_max = SIZE_MAX;  // in one order
    uint32_t rate = 0;            // of reading, bytes/s; 0: any
    bool at_once = false;         // on a burst shard if no other has a slot
    bool lasting = false;         // on no burst shard
  };
  // Returns how many of them no shard has a slot for.
  size_t Place(const World& world, const std::vector<Unit>& units, const Urgency& urgency,
               std::vector<Room>& rooms, RepairActions& actions);
  // Living shards that hold it, leaving ones included.
  static std::vector<const wire::ShardDescriptor*> HoldersOf(const World& world, const Unit& unit);
  void ForgetKept(std::span<const RepairShard> shards, absl::Duration now);
  // Copies in spare slots that others ordered: a follower, or a router before this one. Not those
  // of burst shards, which are there to hold copies.
  void AdoptExtras(const World& world);
  // Which extras may go, and since when.
  void MarkSurplus(const World& world, absl::Duration now, RepairActions& actions);
  // Makes room for `wanted` units on base or on burst shards: copies beyond copies_wanted become
  // surplus.
  void AdoptSurplus(const World& world, bool on_base, size_t wanted, absl::Duration now);
  void LetGo(const World& world, bool views_quiet, absl::Duration now, RepairActions& actions);
  void CountSurplus(const World& world);

  const UnitRepairConfig config_;  // constant after construction
  std::optional<absl::Duration> first_round_at_;
  std::map<Unit, UnitState> units_;  // all there are
  std::map<Unit, Wish> wanted_;
  std::map<ShardId, Flight> in_flight_;
  std::map<ExtraKey, Extra> extras_;
  std::map<ExtraKey, Kept> kept_;
  std::map<std::pair<ShardId, uint32_t>, absl::Duration> avoid_;  // slots refused, until when
  std::map<ExtraKey, absl::Duration> failed_;                     // to load, until when
  size_t without_copy_ = 0;
  size_t without_base_ = 0;
  size_t thin_ = 0;  // with fewer base copies than wanted
  size_t copies_min_ = 0;
  size_t unplaceable_ = 0;
  size_t unplaceable_wanted_ = 0;  // of those, a step waits for them
  size_t surplus_ = 0;
  size_t base_surplus_ = 0;  // of those on base shards that are there and stay
  bool unseen_end_ = false;  // of an order, since the last Next
};

}  // namespace tessera::router
