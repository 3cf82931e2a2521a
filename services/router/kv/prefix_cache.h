#pragma once

// Remembers which blocks hold which tokens, so that a prompt that begins like an earlier one is not
// computed again.
//
//   salt ─► root ─16 tokens─► node ─16 tokens─► node ...      each node: a block per group, or none
//
// A node is found by its parent and its 16 tokens, compared in full: unlike a hash of the content,
// two prefixes can never be taken for each other. The cache owns one reference of each block it
// remembers. A block that nobody else references is idle and may be evicted, the longest idle
// first. Owned by the engine thread.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/base/ids.h"
#include "services/router/kv/block_allocator.h"
#include "services/router/kv/kv_geometry.h"
#include "services/router/sequence/sequence.h"

namespace tessera::router {

enum class KvGroup : uint8_t { kFull = 0, kSliding = 1 };
inline constexpr size_t kKvGroupCount = 2;

class PrefixCache {
 public:
  using NodeId = uint32_t;
  static constexpr NodeId kNoNode = 0xffffffffu;
  using BlockTokens = std::span<const TokenId, kBlockTokens>;

  // The allocators are borrowed.
  PrefixCache(BlockAllocator& full, BlockAllocator& sliding);

  // Nodes. Pinned ones stay even without blocks; every Pin has its Unpin.
  NodeId FindRoot(std::string_view salt) const;               // kNoNode if unknown
  NodeId FindChild(NodeId parent, BlockTokens tokens) const;  // kNoNode if unknown
  NodeId PinRoot(std::string_view salt);                      // makes it if unknown
  NodeId PinChild(NodeId parent, BlockTokens tokens);         // makes it; the parent is pinned
  void Pin(NodeId node);
  void Unpin(NodeId node);

  // Blocks. `block` is one that the caller references.
  std::optional<uint32_t> BlockOf(NodeId node, KvGroup group) const;
  void Remember(NodeId node, KvGroup group, uint32_t block);  // the node has none of that group
  bool Remembers(KvGroup group, uint32_t block) const;

  // Nothing of the prefix that ends with the pinned `node` is remembered any more. Blocks that
  // sequences have stay theirs.
  void ForgetPrefix(NodeId node);

  // One more / one less owner beside the cache; used for remembered blocks only.
  void Acquire(KvGroup group, uint32_t block);
  void Release(KvGroup group, uint32_t block);

  // Forgets the block that has been idle for the longest time and frees it; false if none is idle.
  bool Evict(KvGroup group);

  size_t idle_count(KvGroup group) const { return groups_[Index(group)].idle_count; }
  size_t node_count() const { return nodes_.size() - free_nodes_.size(); }
  uint64_t eviction_count() const { return eviction_count_; }

 private:
  struct Key {
    NodeId parent = kNoNode;
    std::array<TokenId, kBlockTokens> tokens{};
    bool operator==(const Key&) const = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& key) {
      return H::combine(std::move(h), key.parent, key.tokens);
    }
  };
  struct Node {
    Key key;           // of a root: no parent
    std::string salt;  // of a root
    std::array<uint32_t, kKvGroupCount> blocks = {kNoBlock, kNoBlock};
    uint32_t child_count = 0;
    uint32_t pin_count = 0;
  };
  struct Group {
    BlockAllocator* allocator = nullptr;
    std::vector<NodeId> node_of_block;  // kNoNode: not remembered
    // Idle blocks, a ring linked through `block_count` as the head: next is the longest idle.
    std::vector<uint32_t> next;
    std::vector<uint32_t> prev;
    size_t idle_count = 0;
  };
  static size_t Index(KvGroup group) { return static_cast<size_t>(group); }

  void ForgetBlock(NodeId node, KvGroup group);
  NodeId NewNode();
  void DropIfUnused(NodeId node);
  static void LinkIdle(Group& group, uint32_t block);
  static void UnlinkIdle(Group& group, uint32_t block);

  std::array<Group, kKvGroupCount> groups_;
  std::vector<Node> nodes_;
  std::vector<NodeId> free_nodes_;
  absl::flat_hash_map<Key, NodeId> children_;
  absl::flat_hash_map<std::string, NodeId> roots_;
  uint64_t eviction_count_ = 0;
};

}  // namespace tessera::router
