#include "common/moe/placement.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tessera {
namespace {

auto UnitOrder(const PlacedUnit& u) { return std::tuple(u.layer, u.expert, u.replica.shard); }
auto SlotOrder(const PlacedUnit& u) { return std::pair(u.replica.shard, u.replica.slot); }

std::string NameOf(const PlacedUnit& u) {
  return absl::StrCat("expert ", ToIndex(u.expert), " of layer ", ToIndex(u.layer), " on shard ",
                      ToIndex(u.replica.shard));
}

absl::Status CheckRanges(const PlacementShape& shape, const std::vector<PlacedUnit>& units) {
  for (const PlacedUnit& u : units) {
    if (ToIndex(u.layer) >= shape.layer_count || ToIndex(u.expert) >= shape.expert_count ||
        ToIndex(u.replica.shard) > Placement::kShardIdMax) {
      return absl::InvalidArgumentError(
          absl::StrCat(NameOf(u), " is out of range: ", shape.layer_count, " layers, ",
                       shape.expert_count, " experts, shard ids to ", Placement::kShardIdMax));
    }
  }
  return absl::OkStatus();
}

// No two units in one slot of one shard. Sorts `units` by slot.
absl::Status CheckSlots(std::vector<PlacedUnit>& units) {
  std::sort(units.begin(), units.end(),
            [](const PlacedUnit& a, const PlacedUnit& b) { return SlotOrder(a) < SlotOrder(b); });
  for (size_t i = 1; i < units.size(); ++i) {
    if (SlotOrder(units[i - 1]) == SlotOrder(units[i])) {
      return absl::InvalidArgumentError(absl::StrCat(
          NameOf(units[i - 1]), " and ", NameOf(units[i]), " share slot ", units[i].replica.slot));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Placement> Placement::Build(Epoch epoch, const PlacementShape& shape,
                                           std::vector<PlacedUnit> units) {
  if (absl::Status ranges = CheckRanges(shape, units); !ranges.ok()) return ranges;
  if (absl::Status slots = CheckSlots(units); !slots.ok()) return slots;
  std::sort(units.begin(), units.end(),
            [](const PlacedUnit& a, const PlacedUnit& b) { return UnitOrder(a) < UnitOrder(b); });
  Placement placement;
  placement.epoch_ = epoch;
  placement.shape_ = shape;
  placement.first_.assign(shape.layer_count * shape.expert_count + 1, 0);
  placement.replicas_.reserve(units.size());
  for (size_t i = 0; i < units.size(); ++i) {
    if (i > 0 && UnitOrder(units[i - 1]) == UnitOrder(units[i])) {
      return absl::InvalidArgumentError(absl::StrCat(NameOf(units[i]), " is named twice"));
    }
    ++placement.first_[ToIndex(units[i].layer) * shape.expert_count + ToIndex(units[i].expert) + 1];
    placement.replicas_.push_back(units[i].replica);
    placement.shards_.push_back(units[i].replica.shard);
  }
  for (size_t i = 1; i < placement.first_.size(); ++i)
    placement.first_[i] += placement.first_[i - 1];
  std::sort(placement.shards_.begin(), placement.shards_.end());
  placement.shards_.erase(std::unique(placement.shards_.begin(), placement.shards_.end()),
                          placement.shards_.end());
  return placement;
}

std::span<const Replica> Placement::replicas(LayerIndex layer, ExpertId expert) const {
  if (ToIndex(layer) >= shape_.layer_count || ToIndex(expert) >= shape_.expert_count) return {};
  const size_t unit = ToIndex(layer) * shape_.expert_count + ToIndex(expert);
  return std::span(replicas_).subspan(first_[unit], first_[unit + 1] - first_[unit]);
}

size_t Placement::CopiesMin(LayerIndex layer) const {
  if (shape_.expert_count == 0) return 0;
  size_t fewest = replicas(layer, ExpertId{0}).size();
  for (uint32_t e = 1; e < shape_.expert_count; ++e) {
    fewest = std::min(fewest, replicas(layer, ExpertId{e}).size());
  }
  return fewest;
}

std::vector<PlacedUnit> Placement::Units() const {
  std::vector<PlacedUnit> units;
  units.reserve(replicas_.size());
  for (uint32_t l = 0; l < shape_.layer_count; ++l) {
    for (uint32_t e = 0; e < shape_.expert_count; ++e) {
      for (const Replica& replica : replicas(LayerIndex{l}, ExpertId{e})) {
        units.push_back({LayerIndex{l}, ExpertId{e}, replica});
      }
    }
  }
  return units;
}

}  // namespace tessera
