#include "services/expert_shard/experts/base_units.h"

#include <algorithm>

#include "common/base/check.h"

namespace tessera::expert_shard {

std::vector<ExpertUnit> BaseUnits(const ModelSpec& spec, const BaseSlice& slice) {
  TESSERA_CHECK(slice.shard_count > 0);
  std::vector<ExpertUnit> units;
  if (slice.shard_id >= slice.shard_count) return units;
  for (const ExpertUnit& unit : AllUnits(spec)) {
    const uint64_t first =
        uint64_t{static_cast<uint32_t>(unit.expert)} * slice.shard_count / spec.expert_count;
    const uint64_t steps = (slice.shard_id + slice.shard_count - first) % slice.shard_count;
    if (steps < slice.replicas) units.push_back(unit);
  }
  return units;
}

size_t SpareSlots(const ModelSpec& spec, const BaseSlice& slice, size_t units_that_fit) {
  const size_t total = AllUnits(spec).size();
  const size_t held = BaseUnits(spec, slice).size();
  // Slices differ by an expert of each layer, so a peer may leave more than this shard holds.
  size_t lost = 0;
  for (uint32_t peer = 0; peer < slice.shard_count; ++peer) {
    if (peer == slice.shard_id) continue;
    const BaseSlice other{
        .shard_id = peer, .shard_count = slice.shard_count, .replicas = slice.replicas};
    lost = std::max(lost, BaseUnits(spec, other).size());
  }
  const size_t share = held > 0 ? held : lost;
  const size_t others = std::max<size_t>(slice.shard_count, 2) - 1;
  const size_t inherited = std::min((lost + others - 1) / others, units_that_fit);
  return std::min(total - held, std::max((share + 3) / 4, inherited));
}

}  // namespace tessera::expert_shard
