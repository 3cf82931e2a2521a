#include "services/router/balance/balance_board.h"

#include <algorithm>
#include <cmath>

#include "common/base/check.h"

namespace tessera::router {
namespace {

constexpr int kSweepsMax = 12;
constexpr double kStill = 1e-4;  // of a layer's mean load

}  // namespace

BalanceBoard::BalanceBoard(const BalanceProblem& problem)
    : problem_(problem),
      copies_(problem.shape.layer_count * problem.shape.expert_count),
      units_at_(problem.shape.layer_count * problem.shards.size()),
      replicated_(problem.shape.layer_count),
      loads_(problem.shape.layer_count * problem.shards.size()),
      means_(problem.shape.layer_count) {
  TESSERA_CHECK(problem.cost.size() == copies_.size());
  for (const BalanceShard& shard : problem.shards) {
    free_.push_back(shard.slot_count);
    usable_count_ += shard.usable;
    has_base_ = has_base_ || (shard.usable && !shard.burst);
  }
  for (const BalanceCopy& copy : problem.copies) {
    const auto it =
        std::lower_bound(problem.shards.begin(), problem.shards.end(), copy.shard,
                         [](const BalanceShard& shard, ShardId id) { return shard.shard < id; });
    if (it == problem.shards.end() || it->shard != copy.shard) continue;
    const auto shard = static_cast<uint32_t>(it - problem.shards.begin());
    const size_t layer = ToIndex(copy.layer);
    const auto unit =
        static_cast<uint32_t>(layer * problem.shape.expert_count + ToIndex(copy.expert));
    auto& there = units_at_[layer * shard_count() + shard];
    if (std::find(there.begin(), there.end(), unit) != there.end()) continue;
    there.push_back(unit);
    --free_[shard];
    if (it->usable) copies_[unit].push_back({shard, 0});
  }
  for (uint32_t unit = 0; unit < copies_.size(); ++unit) {
    if (copies_[unit].empty()) continue;
    means_[LayerOf(unit)] += cost(unit) / static_cast<double>(usable_count_);
    if (copies_[unit].size() > 1) replicated_[LayerOf(unit)].push_back(unit);
    Level(unit);
  }
  for (size_t layer = 0; layer < layer_count(); ++layer) LevelLayer(layer);
}

bool BalanceBoard::Holds(uint32_t unit, uint32_t shard) const {
  const auto there = units_at(LayerOf(unit), shard);
  return std::find(there.begin(), there.end(), unit) != there.end();
}

double BalanceBoard::Carried(uint32_t unit, uint32_t shard) const {
  for (const Copy& copy : copies_[unit]) {
    if (copy.shard == shard) return copy.carried;
  }
  return 0;
}

double BalanceBoard::peak(size_t layer) const {
  const auto first = loads_.begin() + static_cast<ptrdiff_t>(layer * shard_count());
  return shard_count() == 0
             ? 0
             : *std::max_element(first, first + static_cast<ptrdiff_t>(shard_count()));
}

double BalanceBoard::balance(size_t layer) const {
  const double most = peak(layer);
  return most > 0 ? std::min(1.0, means_[layer] / most) : 1;
}

double BalanceBoard::balance() const {
  double sum = 0;
  size_t layers = 0;
  for (size_t layer = 0; layer < layer_count(); ++layer) {
    if (means_[layer] <= 0) continue;
    sum += balance(layer);
    ++layers;
  }
  return layers > 0 ? sum / static_cast<double>(layers) : 1;
}

size_t BalanceBoard::LastingCopies(uint32_t unit, uint32_t besides) const {
  return static_cast<size_t>(std::ranges::count_if(copies_[unit], [&](const Copy& copy) {
    return copy.shard != besides && IsBase(copy.shard);
  }));
}

bool BalanceBoard::MayRemove(uint32_t unit, uint32_t shard, size_t copies_min) const {
  if (!problem_.shards[shard].usable) return false;
  const size_t lasting = LastingCopies(unit, shard);
  const size_t others = static_cast<size_t>(std::ranges::count_if(
      copies_[unit], [shard](const Copy& copy) { return copy.shard != shard; }));
  return lasting >= 1 && (IsBase(shard) ? lasting : others) >= copies_min;
}

void BalanceBoard::Add(uint32_t unit, uint32_t shard) {
  TESSERA_CHECK(!Holds(unit, shard));
  const size_t layer = LayerOf(unit);
  units_at_[layer * shard_count() + shard].push_back(unit);
  --free_[shard];
  if (!problem_.shards[shard].usable) return;
  copies_[unit].push_back({shard, 0});
  SetReplicated(unit);
  LevelLayer(layer);
}

void BalanceBoard::Remove(uint32_t unit, uint32_t shard) {
  const size_t layer = LayerOf(unit);
  auto& there = units_at_[layer * shard_count() + shard];
  const size_t held = std::erase(there, unit);
  TESSERA_CHECK(held == 1);
  ++free_[shard];
  const auto it = std::find_if(copies_[unit].begin(), copies_[unit].end(),
                               [&](const Copy& copy) { return copy.shard == shard; });
  if (it == copies_[unit].end()) return;
  TESSERA_CHECK(copies_[unit].size() > 1);
  loads_[layer * shard_count() + shard] -= it->carried;
  copies_[unit].erase(it);
  SetReplicated(unit);
  Level(unit);
  LevelLayer(layer);
}

void BalanceBoard::SetReplicated(uint32_t unit) {
  auto& list = replicated_[LayerOf(unit)];
  const auto it = std::find(list.begin(), list.end(), unit);
  const bool is = copies_[unit].size() > 1;
  if (is && it == list.end()) list.push_back(unit);
  if (!is && it != list.end()) list.erase(it);
}

double BalanceBoard::Level(uint32_t unit) {
  std::vector<Copy>& copies = copies_[unit];
  double* loads = loads_.data() + LayerOf(unit) * shard_count();
  order_.clear();
  for (uint32_t c = 0; c < copies.size(); ++c) {
    order_.emplace_back(loads[copies[c].shard] - copies[c].carried, c);
  }
  std::sort(order_.begin(), order_.end());
  // The lowest k shards come to one level: (cost + their loads) / k, below the next one's load.
  double sum = cost(unit);
  double level = 0;
  size_t filled = 0;
  for (; filled < order_.size() && (filled == 0 || order_[filled].first < level); ++filled) {
    sum += order_[filled].first;
    level = sum / static_cast<double>(filled + 1);
  }
  double moved = 0;
  for (size_t i = 0; i < order_.size(); ++i) {
    Copy& copy = copies[order_[i].second];
    const double carried = i < filled ? std::max(0.0, level - order_[i].first) : 0;
    moved += std::abs(carried - copy.carried);
    loads[copy.shard] = order_[i].first + carried;
    copy.carried = carried;
  }
  return moved;
}

void BalanceBoard::LevelLayer(size_t layer) {
  for (int sweep = 0; sweep < kSweepsMax; ++sweep) {
    double moved = 0;
    for (const uint32_t unit : replicated_[layer]) moved += Level(unit);
    if (moved <= kStill * means_[layer]) return;
  }
}

}  // namespace tessera::router
