#pragma once

// The shards of a simulated cluster: what they hold, what waits at them, who lives.

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "common/base/ids.h"
#include "common/moe/dispatch_plan.h"
#include "common/moe/placement.h"
#include "services/router/balance/balance_planner.h"

namespace tessera::cli {

// A message of one router to one shard.
struct SimulatedCall {
  uint32_t router = 0;
  LayerIndex layer{};
  uint32_t rows = 0;
  std::vector<std::pair<ExpertId, uint32_t>> experts;  // and their pairs
  uint32_t pairs() const;
};

struct SimulatedShard {
  bool lives = true;
  bool busy = false;
  std::vector<SimulatedCall> queue;
  std::vector<SimulatedCall> at_work;  // one batch: calls of one layer
  uint64_t life = 0;                   // rises when it dies: what it worked on does not count
  double busy_us = 0;
  uint64_t outstanding_rows = 0;  // queued or at work
  std::vector<std::optional<router::BalanceCopy>> slots;
};

// Owned by the simulation.
class SimulatedShards {
 public:
  // Expert e of each layer on shard e * shards / experts and, with more copies, the following ones.
  SimulatedShards(const PlacementShape& shape, const std::vector<LayerIndex>& moe_layers,
                  size_t shard_count, size_t copies, uint32_t slot_count);

  size_t size() const { return shards_.size(); }
  SimulatedShard& operator[](size_t shard) { return shards_[shard]; }
  size_t living() const;

  // The map of living shards' units; kept until something changes.
  const Placement& Map();
  // [shards] outstanding rows, or kShardUnusable.
  const std::vector<uint32_t>& Weights();
  // Loads a unit where the fewest are held among the living with a free slot; false: there is none.
  bool Restore(LayerIndex layer, ExpertId expert);
  // One change of a plan, if it is still possible.
  void Apply(const router::BalanceMove& move);
  void Kill(size_t shard);
  // It is back with what it held.
  void Revive(size_t shard) {
    shards_[shard].lives = true;
    map_.reset();
  }

  router::BalanceProblem Problem(std::vector<double> costs) const;

 private:
  bool Put(size_t shard, const router::BalanceCopy& unit);
  bool Holds(size_t shard, LayerIndex layer, ExpertId expert) const;

  const PlacementShape shape_;
  std::vector<SimulatedShard> shards_;
  std::optional<Placement> map_;
  std::vector<uint32_t> weights_;
  uint64_t epoch_ = 0;
};

}  // namespace tessera::cli
