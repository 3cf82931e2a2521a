#pragma once

// Where units should go so that no shard makes the others wait: replicate what is hot, move what
// lies badly, and touch as little as possible.
//
// A step waits in each layer for its slowest shard, so what counts is per layer the mean over the
// maximum of the shards' loads, averaged over layers (balance; 1 is perfect). The search starts
// from what is there. It takes the worst layer's most loaded shard and looks for the change that
// lowers its load most: a further copy of one of its units on a little loaded shard, or moving one
// there, in exchange for a cold one where slots are short. Copies that carry little make room. It
// ends when the layers are good enough, nothing helps, or the moves of a round are used up. Slots
// belong to a shard, not to a layer, so a shard may hold few hot units of one layer and many cold
// of another.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/base/ids.h"
#include "services/router/balance/balance_board.h"

namespace tessera::router {

struct BalanceOptions {
  uint32_t copies_min = 1;      // live copies of each unit, on shards that stay; >= 1
  size_t loads_max = SIZE_MAX;  // units read by shards in one plan
  double target = 0.98;         // a layer this good is left alone; 0..1
  double gain_min = 0.004;      // of a layer's mean load that one change must take from the peak
  // Of a shard's slots, rounded up where it has any left: for experts of lost shards, and as the
  // second place a unit on its way needs.
  double slots_kept_free = 0.05;
  // True: the changes can be carried out one after the other, each copy loaded before another is
  // dropped. False: only the end counts.
  bool live = true;
};

struct BalanceMove {
  enum class Kind : uint8_t {
    kCopy,  // `to` loads it
    kMove,  // `to` loads it, then `from` drops it
    kDrop,  // `from` drops it
  };
  Kind kind = Kind::kCopy;
  LayerIndex layer{};
  ExpertId expert{};
  ShardId from{};  // kMove, kDrop
  ShardId to{};    // kCopy, kMove

  friend bool operator==(const BalanceMove&, const BalanceMove&) = default;
};

struct BalancePlan {
  double before = 1;  // balance now
  double after = 1;   // when all is done
  // In this order every load finds a free slot and no unit is ever without a copy.
  std::vector<BalanceMove> moves;
  size_t loads = 0;  // kCopy and kMove

  // How much faster the experts' part of a step gets if shards' peaks decide: after / before - 1.
  double gain() const { return before > 0 ? after / before - 1 : 0; }
};

// Depends on its arguments only. What a unit costs on a shard that is not usable is not counted.
BalancePlan PlanBalance(const BalanceProblem& problem, const BalanceOptions& options);

}  // namespace tessera::router
