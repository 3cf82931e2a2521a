#include "services/cli/plan/simulated_shards.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace tessera::cli {

using router::BalanceCopy;
using router::BalanceMove;

uint32_t SimulatedCall::pairs() const {
  uint32_t sum = 0;
  for (const auto& [expert, pairs] : experts) sum += pairs;
  return sum;
}

SimulatedShards::SimulatedShards(const PlacementShape& shape,
                                 const std::vector<LayerIndex>& moe_layers, size_t shard_count,
                                 size_t copies, uint32_t slot_count)
    : shape_(shape), shards_(shard_count) {
  for (SimulatedShard& shard : shards_) shard.slots.resize(slot_count);
  for (const LayerIndex layer : moe_layers) {
    for (uint32_t e = 0; e < shape.expert_count; ++e) {
      const size_t first = size_t{e} * shard_count / shape.expert_count;
      for (size_t c = 0; c < std::min(copies, shard_count); ++c) {
        const auto shard = static_cast<uint32_t>((first + c) % shard_count);
        // Fewer experts than shards fall on one slot each; more fit by the choice of slot_count.
        TESSERA_CHECK(Put(shard, {layer, ExpertId{e}, ShardId{shard}}));
      }
    }
  }
}

size_t SimulatedShards::living() const {
  return static_cast<size_t>(std::ranges::count(shards_, true, &SimulatedShard::lives));
}

bool SimulatedShards::Put(size_t shard, const BalanceCopy& unit) {
  auto& slots = shards_[shard].slots;
  const auto free = std::ranges::find_if(slots, [](const auto& slot) { return !slot; });
  if (free == slots.end()) return false;
  *free = unit;
  map_.reset();
  return true;
}

bool SimulatedShards::Holds(size_t shard, LayerIndex layer, ExpertId expert) const {
  return std::ranges::any_of(shards_[shard].slots, [&](const auto& slot) {
    return slot && slot->layer == layer && slot->expert == expert;
  });
}

const Placement& SimulatedShards::Map() {
  if (map_) return *map_;
  std::vector<PlacedUnit> units;
  for (const SimulatedShard& shard : shards_) {
    if (!shard.lives) continue;
    for (uint32_t slot = 0; slot < shard.slots.size(); ++slot) {
      if (!shard.slots[slot]) continue;
      const BalanceCopy& unit = *shard.slots[slot];
      units.push_back({unit.layer, unit.expert, {unit.shard, slot, 1}});
    }
  }
  auto built = Placement::Build(Epoch{++epoch_}, shape_, std::move(units));
  TESSERA_CHECK(built.ok());
  map_ = *std::move(built);
  return *map_;
}

const std::vector<uint32_t>& SimulatedShards::Weights() {
  weights_.resize(shards_.size());
  for (size_t s = 0; s < shards_.size(); ++s) {
    weights_[s] = shards_[s].lives ? static_cast<uint32_t>(std::min<uint64_t>(
                                         shards_[s].outstanding_rows, kShardUnusable - 1))
                                   : kShardUnusable;
  }
  return weights_;
}

bool SimulatedShards::Restore(LayerIndex layer, ExpertId expert) {
  std::optional<size_t> best;
  size_t fewest = 0;
  for (size_t s = 0; s < shards_.size(); ++s) {
    const auto& slots = shards_[s].slots;
    if (!shards_[s].lives || Holds(s, layer, expert)) continue;
    const auto free =
        static_cast<size_t>(std::ranges::count_if(slots, [](const auto& slot) { return !slot; }));
    if (free == 0 || (best && slots.size() - free >= fewest)) continue;
    best = s;
    fewest = slots.size() - free;
  }
  return best && Put(*best, {layer, expert, ShardId{static_cast<uint32_t>(*best)}});
}

void SimulatedShards::Apply(const BalanceMove& move) {
  const bool drops = move.kind != BalanceMove::Kind::kCopy;
  if (move.kind != BalanceMove::Kind::kDrop) {
    const size_t to = ToIndex(move.to);
    if (!shards_[to].lives || Holds(to, move.layer, move.expert)) return;
    if (!Put(to, {move.layer, move.expert, move.to})) return;
  }
  if (!drops) return;
  // Others must hold it: the world may have changed since the plan.
  const auto replicas = Map().replicas(move.layer, move.expert);
  if (replicas.size() < 2) return;
  for (auto& slot : shards_[ToIndex(move.from)].slots) {
    if (slot && slot->layer == move.layer && slot->expert == move.expert) slot.reset();
  }
  map_.reset();
}

void SimulatedShards::Kill(size_t shard) {
  SimulatedShard& dead = shards_[shard];
  dead.lives = dead.busy = false;
  dead.outstanding_rows = 0;
  ++dead.life;
  map_.reset();
}

router::BalanceProblem SimulatedShards::Problem(std::vector<double> costs) const {
  router::BalanceProblem problem;
  problem.shape = shape_;
  problem.cost = std::move(costs);
  for (uint32_t s = 0; s < shards_.size(); ++s) {
    problem.shards.push_back({.shard = ShardId{s},
                              .slot_count = static_cast<uint32_t>(shards_[s].slots.size()),
                              .usable = shards_[s].lives});
    for (const auto& slot : shards_[s].slots) {
      if (slot) problem.copies.push_back(*slot);
    }
  }
  return problem;
}

}  // namespace tessera::cli
