#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/model/model_spec.h"
#include "services/expert_shard/experts/expert_table.h"

namespace tessera::expert_shard {

// A shard's place among those that together hold every expert `replicas` times.
struct BaseSlice {
  uint32_t shard_id = 0;
  uint32_t shard_count = 1;  // > 0
  uint32_t replicas = 1;     // 1 .. shard_count
};

// The units a shard begins with, layer by layer: expert e of each layer belongs to shard
// e * shard_count / expert_count and to the replicas - 1 following ones, counted in a circle. Empty
// for a shard_id >= shard_count.
std::vector<ExpertUnit> BaseUnits(const ModelSpec& spec, const BaseSlice& slice);

// Slots a shard should have beside its base units. `units_that_fit` is what memory bears in
// addition. A quarter of the base units always; if it fits, as much as the largest of the other
// shards leaves to each of those that remain; never more than there are units left in the model. A
// shard that begins with nothing counts as if it were one of the shard_count.
size_t SpareSlots(const ModelSpec& spec, const BaseSlice& slice, size_t units_that_fit);

}  // namespace tessera::expert_shard
