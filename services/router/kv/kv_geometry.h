#pragma once

// How many bytes and blocks keys and values take, and how a budget is split between the two groups.

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "common/kernels/attention.h"
#include "common/model/model_spec.h"

namespace tessera::router {

inline constexpr size_t kBlockTokens = kernels::kKvBlockTokens;

constexpr size_t BlocksFor(size_t tokens) { return (tokens + kBlockTokens - 1) / kBlockTokens; }

// Blocks of both groups; a group without layers has 0.
struct BlockCounts {
  size_t full = 0;
  size_t sliding = 0;
};

struct KvGeometry {
  size_t full_layers = 0;
  size_t sliding_layers = 0;
  size_t window = 0;             // keys a sliding layer sees, the row's own included; >= 1
  size_t layer_block_bytes = 0;  // keys and values of 16 tokens of one layer

  static KvGeometry Of(const ModelSpec& spec, kernels::KvType type);

  size_t full_block_bytes() const { return full_layers * layer_block_bytes; }
  size_t sliding_block_bytes() const { return sliding_layers * layer_block_bytes; }
  size_t BytesOf(const BlockCounts& blocks) const {
    return blocks.full * full_block_bytes() + blocks.sliding * sliding_block_bytes();
  }

  // First token that the row at `position` of a sliding layer sees.
  size_t WindowBegin(size_t position) const {
    return position + 1 > window ? position + 1 - window : 0;
  }
  // Blocks one sequence of `tokens` tokens holds at its largest when it is computed `chunk_tokens`
  // (>= 1) rows a step:
  //   full    ceil(tokens / 16)
  //   sliding min(ceil(tokens / 16), ceil((window + chunk - 2) / 16) + 1): window + chunk - 1
  //           positions that may begin anywhere in a block
  BlockCounts SequenceBlocks(size_t tokens, size_t chunk_tokens) const;
};

struct KvBudget {
  size_t bytes = 0;           // for both groups together
  size_t context_max = 0;     // one sequence of so many tokens must always fit
  size_t sequence_count = 1;  // sequences wanted at the same time
  size_t chunk_tokens = 512;  // prefill rows a sequence may bring in one step
};

// Splits the budget so that `sequence_count` equally long sequences, as long as possible, fill both
// groups at the same time, never less than one sequence of context_max needs. What is left once all
// have context_max goes to both groups in proportion, for the prefix cache.
// kResourceExhausted with the arithmetic if one sequence of context_max does not fit;
// kInvalidArgument if context_max, sequence_count or chunk_tokens is 0.
absl::StatusOr<BlockCounts> SplitKvBudget(const KvGeometry& geometry, const KvBudget& budget);

// The longest context_max that SplitKvBudget accepts with these bytes, at most budget.context_max;
// 0 if none.
size_t LongestContext(const KvGeometry& geometry, const KvBudget& budget);

}  // namespace tessera::router
