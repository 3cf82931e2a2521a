#pragma once

// Who holds what and carries how much of it: the ground the balancer plays on.
//
// A unit's cost is carried by its copies as the dispatcher would share it out: an expert goes whole
// to one shard in a call, to the one with less work, so over many calls the copies even out what
// their shards carry. The board keeps that state: among the copies of a unit, whoever carries any
// of it has the lowest load (water filling).

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/moe/placement.h"

namespace tessera::router {

struct BalanceShard {
  ShardId shard{};
  uint32_t slot_count = 0;
  bool burst = false;  // may go at any time: its copies are none of the copies_min of a unit
  bool usable = true;  // false: silent, unlinked or leaving; its copies do not count
  std::string zone{};  // copies of a unit prefer different ones; may be empty
};

struct BalanceCopy {
  LayerIndex layer{};
  ExpertId expert{};
  ShardId shard{};

  friend bool operator==(const BalanceCopy&, const BalanceCopy&) = default;
};

struct BalanceProblem {
  PlacementShape shape;
  std::vector<double> cost;          // [layer_count * expert_count] per step, >= 0
  std::vector<BalanceShard> shards;  // ascending id
  std::vector<BalanceCopy> copies;   // all that are held, on shards of the list
};

// Indices: a unit is layer * expert_count + expert, a shard its place in the problem's list.
// Thread-compatible; borrows the problem.
class BalanceBoard {
 public:
  struct Copy {
    uint32_t shard = 0;
    double carried = 0;
  };

  // Copies on shards that are not listed are ignored; a unit twice on a shard counts once.
  explicit BalanceBoard(const BalanceProblem& problem);

  size_t shard_count() const { return problem_.shards.size(); }
  const BalanceShard& shard(uint32_t s) const { return problem_.shards[s]; }
  size_t layer_count() const { return problem_.shape.layer_count; }
  size_t LayerOf(uint32_t unit) const { return unit / problem_.shape.expert_count; }
  double cost(uint32_t unit) const { return problem_.cost[unit]; }

  // Usable ones only.
  std::span<const Copy> copies(uint32_t unit) const { return copies_[unit]; }
  bool Holds(uint32_t unit, uint32_t shard) const;
  double Carried(uint32_t unit, uint32_t shard) const;
  std::span<const uint32_t> units_at(size_t layer, uint32_t shard) const {
    return units_at_[layer * shard_count() + shard];
  }
  double load(size_t layer, uint32_t shard) const { return loads_[layer * shard_count() + shard]; }
  double mean(size_t layer) const { return means_[layer]; }
  double peak(size_t layer) const;
  // Mean over maximum of the shards' loads; 1 for a layer without load.
  double balance(size_t layer) const;
  // Average of the layers with load.
  double balance() const;
  // Slots nobody uses; below zero: more is held than fits.
  int64_t free_slots(uint32_t shard) const { return free_[shard]; }

  // Shards that stay; where all are burst shards, all.
  bool IsBase(uint32_t shard) const { return !has_base_ || !problem_.shards[shard].burst; }
  // Usable copies on those, `besides` left out.
  size_t LastingCopies(uint32_t unit, uint32_t besides) const;
  // The copy may go: `copies_min` others live, for a copy on a shard that stays all on such shards,
  // for another one of them.
  bool MayRemove(uint32_t unit, uint32_t shard, size_t copies_min) const;

  // Both require what they say, and even the layer out again.
  void Add(uint32_t unit, uint32_t shard);     // not held there
  void Remove(uint32_t unit, uint32_t shard);  // held there, and not the last copy

 private:
  // Shares the unit's cost out over its copies by their shards' other load.
  double Level(uint32_t unit);
  // Until nothing moves any more, or enough times.
  void LevelLayer(size_t layer);
  void SetReplicated(uint32_t unit);

  const BalanceProblem& problem_;
  size_t usable_count_ = 0;
  bool has_base_ = false;                           // some usable shard is no burst shard
  std::vector<std::vector<Copy>> copies_;           // [units]
  std::vector<std::vector<uint32_t>> units_at_;     // [layers * shards]
  std::vector<std::vector<uint32_t>> replicated_;   // [layers] units with two copies or more
  std::vector<double> loads_;                       // [layers * shards]
  std::vector<double> means_;                       // [layers]
  std::vector<int64_t> free_;                       // [shards]
  std::vector<std::pair<double, uint32_t>> order_;  // scratch of Level
};

}  // namespace tessera::router
