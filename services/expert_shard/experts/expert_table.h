#pragma once

// What a shard holds at one moment, by slot and by unit.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "common/kernels/swiglu.h"
#include "common/model/model_spec.h"

namespace tessera::expert_shard {

// The unit of placement.
struct ExpertUnit {
  LayerIndex layer{};
  ExpertId expert{};

  friend bool operator==(const ExpertUnit&, const ExpertUnit&) = default;
};
std::string NameOf(const ExpertUnit& unit);  // "layer 3 expert 7"

// Every unit of a model, layer by layer: what a single shard holds.
std::vector<ExpertUnit> AllUnits(const ModelSpec& spec);

// One unit in memory, with what keeps its weights there.
struct HeldExpert {
  ExpertUnit unit;
  uint32_t slot = 0;
  // Equal for copies that answer alike: a hash of the model's identity, the unit, its dtype, the
  // arithmetic and the layout of the weights.
  uint64_t weights_version = 0;
  size_t size_bytes = 0;  // of the weights
  kernels::SwiGluWeights network;
  std::shared_ptr<const std::byte> memory;  // packed bytes; null: they lie in the checkpoint's map
};

// Slots are numbered 0 .. slot_count - 1; holes are allowed, and a unit never changes its number.
// Immutable once shared, so thread-safe. Holding a table keeps all its weights.
class ExpertTable {
 public:
  ExpertTable(const ModelSpec& spec, size_t slot_count);

  // Null if the unit is not held, or is none of the model's.
  const HeldExpert* Find(LayerIndex layer, ExpertId expert) const;
  // Null if the slot is a hole, or there is no such slot.
  const HeldExpert* AtSlot(size_t slot) const {
    return slot < slots_.size() ? slots_[slot].get() : nullptr;
  }

  // All that is held, ascending by layer, then expert.
  std::vector<const HeldExpert*> ByUnit() const;

  size_t slot_count() const { return slots_.size(); }
  size_t unit_count() const { return unit_count_; }
  size_t size_bytes() const { return size_bytes_; }  // of all weights
  uint64_t version() const { return version_; }      // > 0, rises with every change

  // For who builds the next table. Requires a free slot, and a unit that is not held.
  void Put(std::shared_ptr<const HeldExpert> expert);
  // Requires that the slot is no hole.
  void Remove(size_t slot);

 private:
  static constexpr uint32_t kNowhere = std::numeric_limits<uint32_t>::max();
  size_t IndexOf(const ExpertUnit& unit) const {
    return ToIndex(unit.layer) * expert_count_ + ToIndex(unit.expert);
  }

  size_t expert_count_;
  std::vector<std::shared_ptr<const HeldExpert>> slots_;
  std::vector<uint32_t> slot_of_;  // [layer_count, expert_count]
  size_t unit_count_ = 0;
  size_t size_bytes_ = 0;
  uint64_t version_ = 1;
};

}  // namespace tessera::expert_shard
