#pragma once

// The leading router's balancer: watches the load, decides when a plan is worth its moves, and has
// it carried out. A state machine like UnitRepair; planning itself, which may take a second,
// happens outside of it:
//
//   counters ─Report─► window ─DueProblem─► problem ─PlanBalance (own thread)─► plan ─Consider─►
//   moves

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "common/moe/placement.h"
#include "services/router/balance/balance_planner.h"
#include "services/router/balance/cost_model.h"
#include "services/router/balance/load_window.h"
#include "services/router/cluster/unit_migration.h"
#include "services/router/cluster/unit_repair.h"

namespace tessera::router {

struct BalancerConfig {
  // False: it looks and tells, and moves nothing unless triggered.
  bool moves = true;
  absl::Duration interval = absl::Seconds(30);  // between two looks; > 0
  // A round begins when the estimated balance is below; 0..1. Routers measured 0.01 to 0.02 less.
  double threshold = 0.92;
  double target = 0.98;          // and rounds go on until it is here, or nothing helps; 0..1
  double gain_min = 0.05;        // a plan that promises less is not carried out
  double window_steps = 1000;    // older load fades; > 0
  double steps_min = 200;        // that must have been seen
  uint32_t copies_min = 1;       // live copies of every expert; >= 1
  uint32_t loads_max = 256;      // units in one round
  double slots_kept_free = 0.1;  // of each shard's slots
  uint32_t shards_max = 2;       // that read at a time
  uint32_t bytes_per_second_max = 256u << 20;  // of one shard's reading for moves; 0: any
};

// What the last look found.
enum class BalanceVerdict : uint8_t {
  kNone,     // no look yet
  kUnknown,  // too few steps seen
  kGood,     // above the threshold
  kNoGain,   // nothing helps enough
  kFrozen,   // would move, but is told not to
  kDryRun,   // would move, but was only asked what it would do
  kMoving,   // began to
  kBusy,     // moves, repairs or drains are under way
};
std::string_view NameOf(BalanceVerdict verdict);

struct BalanceLook {
  BalanceVerdict verdict = BalanceVerdict::kNone;
  absl::Duration at;
  BalancePlan plan;
  CostModel costs;
  double steps = 0;  // known of the load
};

// Thread-compatible. `now` is Clock::Elapsed().
class Balancer {
 public:
  Balancer(const BalancerConfig& config, const PlacementShape& shape,
           std::vector<LayerIndex> moe_layers);

  // What a router counted since its last report.
  void Report(const ExpertTotals& delta) { window_.Add(delta); }

  // If a look is due, what is to be planned, with options(); then Consider is called. Nothing while
  // `disturbed`: repairs or drains are under way.
  std::optional<BalanceProblem> DueProblem(const Placement& placement,
                                           std::span<const RepairShard> shards,
                                           const CostModel& costs, bool disturbed,
                                           absl::Duration now);
  BalanceOptions options() const;
  void Consider(BalancePlan plan, absl::Duration now);

  // The moves under way. While `disturbed` nothing new begins.
  RepairActions Next(const Placement& placement, std::span<const RepairShard> shards,
                     bool views_quiet, bool disturbed, absl::Duration now);
  void Finished(ShardId shard, const absl::Status& status, absl::Duration now);

  // No round begins any more, not even a triggered one or one for a shard that came, and the one
  // under way stops after what has begun.
  void Freeze();
  // As configured again.
  void Thaw();
  // A look now. With `moves` it begins a round whatever the threshold, and though frozen; without
  // it moves nothing, whatever it finds, and looks at intervals go on as if it had not been.
  void Trigger(bool moves);
  // DueProblem would find a look due.
  bool IsDue(absl::Duration now) const { return forced_ || asked_ || !due_at_ || now >= *due_at_; }

  // It begins no round by itself, as configured or as told.
  bool frozen() const { return frozen_ || !config_.moves; }
  bool WorksOn(ShardId shard) const { return migration_.WorksOn(shard); }
  const UnitMigration& migration() const { return migration_; }
  const BalanceLook& last_look() const { return look_; }
  uint64_t rounds() const { return rounds_; }  // begun
  uint64_t looks() const { return looks_; }
  uint64_t moves_ended() const { return moves_before_ + MovesEnded(); }

 private:
  BalanceProblem MakeProblem(const Placement& placement, std::span<const RepairShard> shards,
                             const CostModel& costs) const;
  // A shard that came empty is given its share whatever the threshold and the gain, until a round
  // for it was carried out whole.
  bool sharing() const { return !newcomers_.empty(); }
  void FindNewcomers(std::span<const RepairShard> shards);
  double target() const;
  // What a look is to do about a plan; look_ has it.
  BalanceVerdict Judge(bool forced, bool dry) const;

  size_t MovesEnded() const;  // of the round under way

  const BalancerConfig config_;  // constant after construction
  const std::vector<LayerIndex> moe_layers_;
  LoadWindow window_;
  UnitMigration migration_;
  BalanceLook look_;
  std::optional<absl::Duration> due_at_;
  std::vector<uint64_t> known_shards_;  // incarnations of the last look
  std::set<uint64_t> newcomers_;        // incarnations that came empty and lack their share
  bool shares_ = false;                 // the last round begun was for them
  bool frozen_ = false;                 // told to be
  bool forced_ = false;                 // the next look moves
  bool asked_ = false;                  // a dry run is wanted
  bool dry_ = false;                    // the look under way is one
  bool pursued_ = false;                // below target after a round: goes on above the threshold
  uint64_t rounds_ = 0;
  uint64_t looks_ = 0;
  uint64_t moves_before_ = 0;  // ended in earlier rounds
};

}  // namespace tessera::router
