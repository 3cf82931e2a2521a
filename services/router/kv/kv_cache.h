#pragma once

// The keys and values of all running sequences, in blocks of 16 tokens.
//
// Two groups of layers, each with blocks of its own; a block holds its 16 tokens for every layer of
// the group. Full layers keep all tokens of a sequence. Sliding layers keep the window of the next
// position: blocks wholly behind it are given back at Commit.
//
//   Attach (prefix cache) ─► { Reserve ─► step writes K/V ─► Commit } ... ─► Release
//
// A failed step needs no call: what it wrote lies past committed() and is written again.
// Owned by the engine thread.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/kernels/attention.h"
#include "common/model/model_spec.h"
#include "common/tensor/aligned_buffer.h"
#include "services/router/kv/block_allocator.h"
#include "services/router/kv/kv_geometry.h"
#include "services/router/kv/prefix_cache.h"
#include "services/router/sequence/sequence.h"

namespace tessera::router {

struct KvCacheConfig {
  kernels::KvType type = kernels::KvType::kBF16;
  BlockCounts blocks;        // see SplitKvBudget
  bool prefix_cache = true;  // reuse what earlier sequences computed
};

struct KvGroupStats {
  size_t block_count = 0;
  size_t used_count = 0;  // in the table of a sequence
  size_t idle_count = 0;  // remembered by the prefix cache only: available
  size_t free_count = 0;  // hold nothing
  size_t block_bytes = 0;
};

struct KvStats {
  KvGroupStats full;
  KvGroupStats sliding;
  size_t used_bytes = 0;             // blocks of sequences, both groups
  size_t total_bytes = 0;            // both groups; memory is committed when first written
  uint64_t prefix_query_tokens = 0;  // tokens looked up
  uint64_t prefix_hit_tokens = 0;    // of them, found
  uint64_t evictions = 0;            // remembered blocks that made room
};

class KvCache {
 public:
  // kInvalidArgument: a group with layers and without blocks. kResourceExhausted: no memory.
  static absl::StatusOr<std::unique_ptr<KvCache>> Create(const ModelSpec& spec,
                                                         const KvCacheConfig& config);

  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  const KvGeometry& geometry() const { return geometry_; }
  // Where the kernels find a layer's blocks; constant.
  kernels::KvLayerView View(LayerIndex layer) const { return views_[ToIndex(layer)]; }

  // Gives a sequence without blocks those of the longest remembered prefix of its tokens, at most
  // `tokens_max`, and always leaves one token to compute. Sets committed(); returns it.
  // Reusing p tokens needs all full blocks of [0, p) and the sliding ones of the window - 1 tokens
  // before p.
  size_t Attach(Sequence& sequence, size_t tokens_max);
  // Counts an Attach that was kept. Separate, as an admission may be taken back.
  void CountPrefixLookup(size_t query_tokens, size_t hit_tokens);

  // How many rows, at most `rows_max`, the sequence could compute next with the blocks it has and
  // those available, `keep` left untouched.
  size_t RowsThatFit(const Sequence& sequence, size_t rows_max, const BlockCounts& keep) const;
  // Makes the tables reach `row_count` rows past committed(). False, and nothing changed, if blocks
  // are short. Idle remembered blocks are evicted as needed.
  bool Reserve(Sequence& sequence, size_t row_count);
  // The next `row_count` rows hold good keys and values: moves committed(), remembers full blocks
  // (not of a degraded sequence), gives back what lies behind the window.
  void Commit(Sequence& sequence, size_t row_count);
  // Gives all blocks back and sets committed() to 0.
  void Release(Sequence& sequence);
  // The sequence's keys and values may be spoilt: nobody finds them by its tokens any more.
  void Forget(const Sequence& sequence);

  // Free or idle.
  BlockCounts available() const;
  BlockCounts block_counts() const;
  KvStats stats() const;

  // For tests and metrics.
  const BlockAllocator& allocator(KvGroup group) const { return allocators_[Index(group)]; }
  const PrefixCache& prefix_cache() const { return prefix_; }

 private:
  KvCache(const ModelSpec& spec, const KvCacheConfig& config, std::array<AlignedBuffer, 2> memory);
  static size_t Index(KvGroup group) { return static_cast<size_t>(group); }

  // Nodes of the longest reusable prefix, at most `block_count_max` blocks.
  std::vector<PrefixCache::NodeId> Match(const Sequence& sequence, size_t block_count_max) const;
  void ExtendChain(Sequence& sequence);
  void DropBehindWindow(Sequence& sequence);
  size_t Available(KvGroup group) const;
  uint32_t TakeBlock(KvGroup group);  // one is available
  bool HasLayers(KvGroup group) const;
  void GiveBack(KvGroup group, uint32_t block);

  const KvGeometry geometry_;
  const bool prefix_enabled_;
  const std::array<AlignedBuffer, kKvGroupCount> memory_;
  std::vector<kernels::KvLayerView> views_;  // [layer_count], constant

  std::array<BlockAllocator, kKvGroupCount> allocators_;
  PrefixCache prefix_;
  uint64_t prefix_query_tokens_ = 0;
  uint64_t prefix_hit_tokens_ = 0;
};

}  // namespace tessera::router
