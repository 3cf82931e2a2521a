#pragma once

// Carries a balance plan out, make before break. A state machine: time and the cluster's state come
// in, orders come out. No gRPC, no threads.
//
//           waiting     loading     loaded      hidden      dropping     done
//   kMove      ├──order──►├───held───►├───hide───►├──quiet───►├───gone────►│
//   kCopy      ├──order──►├──────────────────────held─────────────────────►│
//   kDrop      ├───────────────hide──────────────►├──quiet───►├───gone────►│
//
// A copy leaves the map only while enough others live, one of them on a shard that stays, all of
// them if it lies on one itself: burst shards may go at any time. It comes back if they go before
// it is dropped, or if nothing gets on for too long, which fails the step. It is dropped when the
// map does not list it and nobody uses a map that does. Wherever this is cut off, the map is valid:
// shards hold what they say, and what was loaded too much is a replica.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/moe/placement.h"
#include "services/router/balance/balance_planner.h"
#include "services/router/cluster/unit_repair.h"

namespace tessera::router {

struct UnitMigrationConfig {
  uint32_t copies_min = 1;            // live copies a unit keeps, on shards that stay; >= 1
  size_t shards_max = 2;              // that read at a time
  size_t units_max = 4;               // in one order; a step's wish waits behind it
  uint32_t bytes_per_second_max = 0;  // of one shard's reading; 0: no limit
  absl::Duration drop_delay = absl::Seconds(1);  // between leaving the map and memory
  // After a drop that failed, doubled with each further one up to drop_pause_max.
  absl::Duration drop_pause = absl::Milliseconds(250);
  absl::Duration drop_pause_max = absl::Seconds(10);
  absl::Duration stall_max = absl::Seconds(30);  // without progress the rest is given up
};

// Thread-compatible, a value. `now` is Clock::Elapsed().
class UnitMigration {
 public:
  enum class Stage : uint8_t { kWaiting, kLoading, kLoaded, kHidden, kDropping, kDone, kFailed };
  struct Step {
    BalanceMove move;
    Stage stage = Stage::kWaiting;
    absl::Duration hidden_at;
    uint64_t hidden_incarnation = 0;  // of `from` when its copy left the map
    uint32_t drops_failed = 0;
    absl::Duration drop_at;  // not before
  };

  explicit UnitMigration(UnitMigrationConfig config);

  // Requires idle(). Steps begin in this order for each shard and each unit.
  void Begin(const std::vector<BalanceMove>& moves, absl::Duration now);
  // Nothing new begins; what has begun is finished.
  void Cancel();
  // What to do now. `shards` ascending by id; those that are busy get no order. `views_quiet`:
  // nobody uses a map from before the last hide any more.
  RepairActions Next(const Placement& placement, std::span<const RepairShard> shards,
                     bool views_quiet, absl::Duration now);
  // The order given to this shard is over.
  void Finished(ShardId shard, const absl::Status& status, absl::Duration now);

  bool idle() const;
  bool WorksOn(ShardId shard) const { return in_flight_.contains(shard); }
  const std::vector<Step>& steps() const { return steps_; }
  size_t CountOf(Stage stage) const;
  // When a step last got on, of a migration that is not idle.
  std::optional<absl::Duration> progress_at() const;

 private:
  struct Flight {
    bool drops = false;
    std::vector<size_t> steps;
  };
  struct Round;  // what Next knows

  void Advance(Round& round, size_t index);
  void TryBegin(Round& round, size_t index);
  void TryHide(Round& round, size_t index);
  void TryDrop(Round& round, size_t index);
  // Ends a step that has nothing under way; its copy comes back into the map.
  void GiveUp(Round& round, size_t index);
  void SetStage(Step& step, Stage stage, absl::Duration now);

  UnitMigrationConfig config_;
  std::vector<Step> steps_;
  std::map<ShardId, Flight> in_flight_;
  absl::Duration progress_at_;
};

}  // namespace tessera::router
