#include "services/expert_shard/experts/expert_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"

namespace tessera::expert_shard {

std::string NameOf(const ExpertUnit& unit) {
  return absl::StrCat("layer ", ToIndex(unit.layer), " expert ", ToIndex(unit.expert));
}

std::vector<ExpertUnit> AllUnits(const ModelSpec& spec) {
  std::vector<ExpertUnit> units;
  for (size_t layer = spec.dense_layer_count; layer < spec.layer_count; ++layer) {
    for (size_t expert = 0; expert < spec.expert_count; ++expert) {
      units.push_back(
          {LayerIndex{static_cast<uint32_t>(layer)}, ExpertId{static_cast<uint32_t>(expert)}});
    }
  }
  return units;
}

ExpertTable::ExpertTable(const ModelSpec& spec, size_t slot_count)
    : expert_count_(spec.expert_count),
      slots_(slot_count),
      slot_of_(spec.layer_count * spec.expert_count, kNowhere) {}

const HeldExpert* ExpertTable::Find(LayerIndex layer, ExpertId expert) const {
  if (ToIndex(expert) >= expert_count_) return nullptr;
  const size_t index = IndexOf({layer, expert});
  if (index >= slot_of_.size() || slot_of_[index] == kNowhere) return nullptr;
  return slots_[slot_of_[index]].get();
}

std::vector<const HeldExpert*> ExpertTable::ByUnit() const {
  std::vector<const HeldExpert*> held;
  for (const uint32_t slot : slot_of_) {
    if (slot != kNowhere) held.push_back(slots_[slot].get());
  }
  return held;
}

void ExpertTable::Put(std::shared_ptr<const HeldExpert> expert) {
  const size_t index = IndexOf(expert->unit);
  TESSERA_CHECK(expert->slot < slots_.size() && slots_[expert->slot] == nullptr);
  TESSERA_CHECK(index < slot_of_.size() && slot_of_[index] == kNowhere);
  slot_of_[index] = expert->slot;
  ++unit_count_;
  size_bytes_ += expert->size_bytes;
  ++version_;
  slots_[expert->slot] = std::move(expert);
}

void ExpertTable::Remove(size_t slot) {
  TESSERA_CHECK(slot < slots_.size() && slots_[slot] != nullptr);
  slot_of_[IndexOf(slots_[slot]->unit)] = kNowhere;
  --unit_count_;
  size_bytes_ -= slots_[slot]->size_bytes;
  ++version_;
  slots_[slot].reset();
}

}  // namespace tessera::expert_shard
