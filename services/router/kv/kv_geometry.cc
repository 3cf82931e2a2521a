#include "services/router/kv/kv_geometry.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace tessera::router {
namespace {

// What `budget.sequence_count` sequences of `tokens` tokens hold, never less than one of
// context_max in its smallest steps.
BlockCounts BlocksForAll(const KvGeometry& geometry, const KvBudget& budget, size_t tokens) {
  const BlockCounts one = geometry.SequenceBlocks(budget.context_max, 1);
  const BlockCounts each = geometry.SequenceBlocks(tokens, budget.chunk_tokens);
  return {std::max(one.full, budget.sequence_count * each.full),
          std::max(one.sliding, budget.sequence_count * each.sliding)};
}

// The largest n in [0, limit] for which fits(n), which holds for 0 and never again once it failed.
template <typename Fits>
size_t LargestThatFits(size_t limit, const Fits& fits) {
  size_t low = 0;
  while (low < limit) {
    const size_t middle = limit - (limit - low) / 2;
    if (fits(middle)) {
      low = middle;
    } else {
      limit = middle - 1;
    }
  }
  return low;
}

size_t Scaled(size_t count, size_t bytes, size_t used_bytes) {
  return static_cast<size_t>(static_cast<long double>(count) * bytes / used_bytes);
}

}  // namespace

KvGeometry KvGeometry::Of(const ModelSpec& spec, kernels::KvType type) {
  KvGeometry geometry;
  for (const LayerKind kind : spec.layer_kinds) {
    ++(kind == LayerKind::kFull ? geometry.full_layers : geometry.sliding_layers);
  }
  geometry.window = spec.sliding_window;
  kernels::KvLayerView view;
  view.kv_heads = spec.kv_heads;
  view.head_dim = spec.head_dim;
  view.type = type;
  geometry.layer_block_bytes = view.layer_block_bytes();
  return geometry;
}

BlockCounts KvGeometry::SequenceBlocks(size_t tokens, size_t chunk_tokens) const {
  BlockCounts counts;
  if (full_layers > 0) counts.full = BlocksFor(tokens);
  if (sliding_layers > 0) {
    counts.sliding = std::min(BlocksFor(tokens), BlocksFor(window + chunk_tokens - 2) + 1);
  }
  return counts;
}

absl::StatusOr<BlockCounts> SplitKvBudget(const KvGeometry& geometry, const KvBudget& budget) {
  if (budget.context_max == 0 || budget.sequence_count == 0 || budget.chunk_tokens == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a KV budget needs context_max, sequence_count and chunk_tokens above 0; got ",
                     budget.context_max, ", ", budget.sequence_count, ", ", budget.chunk_tokens));
  }
  const BlockCounts one = geometry.SequenceBlocks(budget.context_max, 1);
  if (geometry.BytesOf(one) > budget.bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "one sequence of ", budget.context_max, " tokens needs ", geometry.BytesOf(one),
        " bytes of keys and values (", one.full, " blocks x ", geometry.full_block_bytes(),
        " bytes for ", geometry.full_layers, " full layers + ", one.sliding, " blocks x ",
        geometry.sliding_block_bytes(), " bytes for ", geometry.sliding_layers,
        " sliding layers), the budget is ", budget.bytes,
        " bytes: raise it or lower context_max to ", LongestContext(geometry, budget)));
  }
  const size_t blocks_each =
      LargestThatFits(BlocksFor(budget.context_max), [&](size_t block_count) {
        return geometry.BytesOf(BlocksForAll(geometry, budget, block_count * kBlockTokens)) <=
               budget.bytes;
      });
  BlockCounts counts = BlocksForAll(geometry, budget, blocks_each * kBlockTokens);
  const size_t used_bytes = geometry.BytesOf(counts);
  if (blocks_each == BlocksFor(budget.context_max) && used_bytes > 0) {
    const BlockCounts scaled = {Scaled(counts.full, budget.bytes, used_bytes),
                                Scaled(counts.sliding, budget.bytes, used_bytes)};
    if (geometry.BytesOf(scaled) <= budget.bytes) counts = scaled;  // rounding never overspends
  }
  return counts;
}

size_t LongestContext(const KvGeometry& geometry, const KvBudget& budget) {
  const auto fits = [&](size_t tokens) {
    return geometry.BytesOf(geometry.SequenceBlocks(tokens, 1)) <= budget.bytes;
  };
  return LargestThatFits(budget.context_max, fits);
}

}  // namespace tessera::router
