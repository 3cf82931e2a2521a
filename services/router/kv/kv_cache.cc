#include "services/router/kv/kv_cache.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"

namespace tessera::router {
namespace {

constexpr std::array<KvGroup, kKvGroupCount> kGroups = {KvGroup::kFull, KvGroup::kSliding};

absl::Status CheckGroup(const char* name, size_t layer_count, size_t block_count,
                        size_t block_bytes) {
  if (layer_count > 0 && block_count == 0) {
    return absl::InvalidArgumentError(absl::StrCat("the KV cache has no blocks for ", layer_count,
                                                   " ", name, " layers; it needs at least 1"));
  }
  if (block_count >= kNoBlock) {
    return absl::InvalidArgumentError(absl::StrCat("the KV cache has ", block_count, " blocks for ",
                                                   name, " layers; it must be fewer than ",
                                                   kNoBlock));
  }
  if (block_bytes > 0 && block_count > std::numeric_limits<ptrdiff_t>::max() / block_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("the KV cache has ", block_count, " blocks of ",
                                                   block_bytes, " bytes for ", name,
                                                   " layers: more than memory can ever hold"));
  }
  return absl::OkStatus();
}

std::vector<uint32_t>& TableOf(Sequence& sequence, KvGroup group) {
  return group == KvGroup::kFull ? sequence.tables().full : sequence.tables().sliding;
}
const std::vector<uint32_t>& TableOf(const Sequence& sequence, KvGroup group) {
  return group == KvGroup::kFull ? sequence.tables().full : sequence.tables().sliding;
}

PrefixCache::BlockTokens TokensOfBlock(const Sequence& sequence, size_t block_index) {
  return sequence.tokens().subspan(block_index * kBlockTokens).first<kBlockTokens>();
}

}  // namespace

absl::StatusOr<std::unique_ptr<KvCache>> KvCache::Create(const ModelSpec& spec,
                                                         const KvCacheConfig& config) {
  const KvGeometry geometry = KvGeometry::Of(spec, config.type);
  TESSERA_RETURN_IF_ERROR(
      CheckGroup("full", geometry.full_layers, config.blocks.full, geometry.full_block_bytes()));
  TESSERA_RETURN_IF_ERROR(CheckGroup("sliding", geometry.sliding_layers, config.blocks.sliding,
                                     geometry.sliding_block_bytes()));
  if (geometry.sliding_layers > 0 && geometry.window == 0) {
    return absl::InvalidArgumentError("sliding_window is 0; sliding layers need at least 1");
  }
  std::array<AlignedBuffer, kKvGroupCount> memory;
  const size_t full_bytes = config.blocks.full * geometry.full_block_bytes();
  const size_t sliding_bytes = config.blocks.sliding * geometry.sliding_block_bytes();
  if (full_bytes > 0) {
    TESSERA_ASSIGN_OR_RETURN(memory[0], AlignedBuffer::Allocate(full_bytes));
  }
  if (sliding_bytes > 0) {
    TESSERA_ASSIGN_OR_RETURN(memory[1], AlignedBuffer::Allocate(sliding_bytes));
  }
  return std::unique_ptr<KvCache>(new KvCache(spec, config, std::move(memory)));
}

KvCache::KvCache(const ModelSpec& spec, const KvCacheConfig& config,
                 std::array<AlignedBuffer, kKvGroupCount> memory)
    : geometry_(KvGeometry::Of(spec, config.type)),
      prefix_enabled_(config.prefix_cache),
      memory_(std::move(memory)),
      allocators_{BlockAllocator(geometry_.full_layers > 0 ? config.blocks.full : 0),
                  BlockAllocator(geometry_.sliding_layers > 0 ? config.blocks.sliding : 0)},
      prefix_(allocators_[0], allocators_[1]) {
  std::array<size_t, kKvGroupCount> seen{};
  for (const LayerKind kind : spec.layer_kinds) {
    const size_t group = Index(kind == LayerKind::kFull ? KvGroup::kFull : KvGroup::kSliding);
    kernels::KvLayerView view;
    view.base = memory_[group].data() + seen[group] * geometry_.layer_block_bytes;
    view.block_stride_bytes =
        group == 0 ? geometry_.full_block_bytes() : geometry_.sliding_block_bytes();
    view.kv_heads = spec.kv_heads;
    view.head_dim = spec.head_dim;
    view.type = config.type;
    views_.push_back(view);
    ++seen[group];
  }
}

bool KvCache::HasLayers(KvGroup group) const {
  return (group == KvGroup::kFull ? geometry_.full_layers : geometry_.sliding_layers) > 0;
}

std::vector<PrefixCache::NodeId> KvCache::Match(const Sequence& sequence,
                                                size_t block_count_max) const {
  std::vector<PrefixCache::NodeId> nodes;
  size_t usable_count = 0;
  size_t sliding_run = 0;  // consecutive blocks up to here that the sliding group has
  PrefixCache::NodeId node = prefix_.FindRoot(sequence.cache_salt());
  while (node != PrefixCache::kNoNode && nodes.size() < block_count_max) {
    node = prefix_.FindChild(node, TokensOfBlock(sequence, nodes.size()));
    if (node == PrefixCache::kNoNode) break;
    if (HasLayers(KvGroup::kFull) && !prefix_.BlockOf(node, KvGroup::kFull)) break;
    nodes.push_back(node);
    sliding_run = prefix_.BlockOf(node, KvGroup::kSliding) ? sliding_run + 1 : 0;
    // To go on at token p the sliding layers need [p - window + 1, p).
    const size_t first = geometry_.WindowBegin(nodes.size() * kBlockTokens) / kBlockTokens;
    if (!HasLayers(KvGroup::kSliding) || sliding_run >= nodes.size() - first) {
      usable_count = nodes.size();
    }
  }
  nodes.resize(usable_count);
  return nodes;
}

size_t KvCache::Attach(Sequence& sequence, size_t tokens_max) {
  BlockTables& tables = sequence.tables();
  TESSERA_CHECK(tables.full.empty() && tables.sliding.empty() && sequence.committed() == 0);
  if (!prefix_enabled_ || !sequence.uses_prefix_cache()) return 0;
  if (sequence.token_count() == 0) return 0;
  tokens_max = std::min(tokens_max, sequence.token_count() - 1);
  const std::vector<PrefixCache::NodeId> nodes = Match(sequence, tokens_max / kBlockTokens);
  if (nodes.empty()) return 0;

  const size_t tokens = nodes.size() * kBlockTokens;
  if (HasLayers(KvGroup::kFull)) {
    for (const PrefixCache::NodeId node : nodes) {
      tables.full.push_back(*prefix_.BlockOf(node, KvGroup::kFull));
      prefix_.Acquire(KvGroup::kFull, tables.full.back());
    }
  }
  if (HasLayers(KvGroup::kSliding)) {
    tables.sliding_begin = geometry_.WindowBegin(tokens) / kBlockTokens;
    tables.sliding.assign(tables.sliding_begin, kNoBlock);
    for (size_t i = tables.sliding_begin; i < nodes.size(); ++i) {
      tables.sliding.push_back(*prefix_.BlockOf(nodes[i], KvGroup::kSliding));
      prefix_.Acquire(KvGroup::kSliding, tables.sliding.back());
    }
  }
  prefix_.Pin(nodes.back());
  tables.chain_node = nodes.back();
  tables.chained_blocks = nodes.size();
  sequence.SetCommitted(tokens);
  return tokens;
}

void KvCache::CountPrefixLookup(size_t query_tokens, size_t hit_tokens) {
  if (!prefix_enabled_) return;
  prefix_query_tokens_ += query_tokens;
  prefix_hit_tokens_ += hit_tokens;
}

size_t KvCache::RowsThatFit(const Sequence& sequence, size_t rows_max,
                            const BlockCounts& keep) const {
  size_t rows = rows_max;
  for (const KvGroup group : kGroups) {
    if (!HasLayers(group)) continue;
    const size_t kept = group == KvGroup::kFull ? keep.full : keep.sliding;
    const size_t extra = Available(group) - std::min(kept, Available(group));
    const size_t reach = (TableOf(sequence, group).size() + extra) * kBlockTokens;
    rows = std::min(rows, reach - sequence.committed());
  }
  return rows;
}

bool KvCache::Reserve(Sequence& sequence, size_t row_count) {
  if (RowsThatFit(sequence, row_count, {}) < row_count) return false;
  const size_t block_count = BlocksFor(sequence.committed() + row_count);
  for (const KvGroup group : kGroups) {
    if (!HasLayers(group)) continue;
    std::vector<uint32_t>& table = TableOf(sequence, group);
    while (table.size() < block_count) table.push_back(TakeBlock(group));
  }
  return true;
}

void KvCache::Commit(Sequence& sequence, size_t row_count) {
  sequence.SetCommitted(sequence.committed() + row_count);
  if (prefix_enabled_ && sequence.uses_prefix_cache() && !sequence.degraded())
    ExtendChain(sequence);
  DropBehindWindow(sequence);
}

void KvCache::ExtendChain(Sequence& sequence) {
  BlockTables& tables = sequence.tables();
  while ((tables.chained_blocks + 1) * kBlockTokens <= sequence.committed()) {
    const size_t block_index = tables.chained_blocks;
    if (tables.chain_node == PrefixCache::kNoNode) {
      tables.chain_node = prefix_.PinRoot(sequence.cache_salt());
    }
    const PrefixCache::NodeId node =
        prefix_.PinChild(tables.chain_node, TokensOfBlock(sequence, block_index));
    prefix_.Unpin(tables.chain_node);
    tables.chain_node = node;
    ++tables.chained_blocks;
    for (const KvGroup group : kGroups) {
      // Another sequence may have computed the same tokens at the same time: its copy stays.
      if (!HasLayers(group) || prefix_.BlockOf(node, group)) continue;
      const uint32_t block = TableOf(sequence, group)[block_index];
      if (block != kNoBlock) prefix_.Remember(node, group, block);
    }
  }
}

void KvCache::DropBehindWindow(Sequence& sequence) {
  if (!HasLayers(KvGroup::kSliding)) return;
  BlockTables& tables = sequence.tables();
  const size_t begin = geometry_.WindowBegin(sequence.committed()) / kBlockTokens;
  for (; tables.sliding_begin < begin; ++tables.sliding_begin) {
    GiveBack(KvGroup::kSliding, tables.sliding[tables.sliding_begin]);
    tables.sliding[tables.sliding_begin] = kNoBlock;
  }
}

void KvCache::Release(Sequence& sequence) {
  // Last block first: when idle blocks must go, a prefix loses its end before its beginning.
  for (const KvGroup group : kGroups) {
    std::vector<uint32_t>& table = TableOf(sequence, group);
    for (size_t i = table.size(); i-- > 0;) {
      if (table[i] != kNoBlock) GiveBack(group, table[i]);
    }
  }
  if (sequence.tables().chain_node != PrefixCache::kNoNode) {
    prefix_.Unpin(sequence.tables().chain_node);
  }
  sequence.tables() = {};
  sequence.SetCommitted(0);
}

void KvCache::Forget(const Sequence& sequence) {
  const PrefixCache::NodeId node = sequence.tables().chain_node;
  if (node != PrefixCache::kNoNode) prefix_.ForgetPrefix(node);
}

size_t KvCache::Available(KvGroup group) const {
  return allocators_[Index(group)].free_count() + prefix_.idle_count(group);
}

uint32_t KvCache::TakeBlock(KvGroup group) {
  BlockAllocator& allocator = allocators_[Index(group)];
  if (allocator.free_count() == 0) prefix_.Evict(group);
  const std::optional<uint32_t> block = allocator.Allocate();
  TESSERA_CHECK(block.has_value());
  return *block;
}

void KvCache::GiveBack(KvGroup group, uint32_t block) {
  if (prefix_.Remembers(group, block)) {
    prefix_.Release(group, block);
  } else {
    allocators_[Index(group)].Release(block);
  }
}

BlockCounts KvCache::available() const {
  return {Available(KvGroup::kFull), Available(KvGroup::kSliding)};
}

BlockCounts KvCache::block_counts() const {
  return {allocators_[0].block_count(), allocators_[1].block_count()};
}

KvStats KvCache::stats() const {
  const auto group_stats = [this](KvGroup group, size_t block_bytes) {
    const BlockAllocator& allocator = allocators_[Index(group)];
    KvGroupStats stats;
    stats.block_count = allocator.block_count();
    stats.idle_count = prefix_.idle_count(group);
    stats.free_count = allocator.free_count();
    stats.used_count = stats.block_count - stats.idle_count - stats.free_count;
    stats.block_bytes = block_bytes;
    return stats;
  };
  KvStats stats;
  stats.full = group_stats(KvGroup::kFull, geometry_.full_block_bytes());
  stats.sliding = group_stats(KvGroup::kSliding, geometry_.sliding_block_bytes());
  stats.used_bytes = geometry_.BytesOf({stats.full.used_count, stats.sliding.used_count});
  stats.total_bytes = geometry_.BytesOf(block_counts());
  stats.prefix_query_tokens = prefix_query_tokens_;
  stats.prefix_hit_tokens = prefix_hit_tokens_;
  stats.evictions = prefix_.eviction_count();
  return stats;
}

}  // namespace tessera::router
