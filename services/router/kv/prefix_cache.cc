#include "services/router/kv/prefix_cache.h"

#include <algorithm>

#include "common/base/check.h"

namespace tessera::router {

PrefixCache::PrefixCache(BlockAllocator& full, BlockAllocator& sliding) {
  groups_[Index(KvGroup::kFull)].allocator = &full;
  groups_[Index(KvGroup::kSliding)].allocator = &sliding;
  for (Group& group : groups_) {
    const size_t count = group.allocator->block_count();
    group.node_of_block.assign(count, kNoNode);
    group.next.resize(count + 1);
    group.prev.resize(count + 1);
    group.next[count] = group.prev[count] = static_cast<uint32_t>(count);
  }
}

PrefixCache::NodeId PrefixCache::FindRoot(std::string_view salt) const {
  const auto it = roots_.find(std::string(salt));
  return it == roots_.end() ? kNoNode : it->second;
}

PrefixCache::NodeId PrefixCache::FindChild(NodeId parent, BlockTokens tokens) const {
  Key key{parent, {}};
  std::copy(tokens.begin(), tokens.end(), key.tokens.begin());
  const auto it = children_.find(key);
  return it == children_.end() ? kNoNode : it->second;
}

PrefixCache::NodeId PrefixCache::PinRoot(std::string_view salt) {
  NodeId node = FindRoot(salt);
  if (node == kNoNode) {
    node = NewNode();
    nodes_[node].salt = salt;
    roots_.emplace(std::string(salt), node);
  }
  ++nodes_[node].pin_count;
  return node;
}

PrefixCache::NodeId PrefixCache::PinChild(NodeId parent, BlockTokens tokens) {
  NodeId node = FindChild(parent, tokens);
  if (node == kNoNode) {
    node = NewNode();
    Key& key = nodes_[node].key;
    key.parent = parent;
    std::copy(tokens.begin(), tokens.end(), key.tokens.begin());
    children_.emplace(key, node);
    ++nodes_[parent].child_count;
  }
  ++nodes_[node].pin_count;
  return node;
}

void PrefixCache::Pin(NodeId node) { ++nodes_[node].pin_count; }

void PrefixCache::Unpin(NodeId node) {
  TESSERA_CHECK(nodes_[node].pin_count > 0);
  --nodes_[node].pin_count;
  DropIfUnused(node);
}

std::optional<uint32_t> PrefixCache::BlockOf(NodeId node, KvGroup group) const {
  const uint32_t block = nodes_[node].blocks[Index(group)];
  if (block == kNoBlock) return std::nullopt;
  return block;
}

void PrefixCache::Remember(NodeId node, KvGroup group, uint32_t block) {
  Group& state = groups_[Index(group)];
  TESSERA_CHECK(nodes_[node].blocks[Index(group)] == kNoBlock);
  TESSERA_CHECK(state.node_of_block[block] == kNoNode);
  state.allocator->AddRef(block);
  state.node_of_block[block] = node;
  nodes_[node].blocks[Index(group)] = block;
}

bool PrefixCache::Remembers(KvGroup group, uint32_t block) const {
  return groups_[Index(group)].node_of_block[block] != kNoNode;
}

void PrefixCache::Acquire(KvGroup group, uint32_t block) {
  TESSERA_CHECK(Remembers(group, block));
  Group& state = groups_[Index(group)];
  if (state.allocator->ref_count(block) == 1) UnlinkIdle(state, block);
  state.allocator->AddRef(block);
}

void PrefixCache::Release(KvGroup group, uint32_t block) {
  TESSERA_CHECK(Remembers(group, block));
  Group& state = groups_[Index(group)];
  TESSERA_CHECK(state.allocator->ref_count(block) > 1);
  state.allocator->Release(block);
  if (state.allocator->ref_count(block) == 1) LinkIdle(state, block);
}

bool PrefixCache::Evict(KvGroup group) {
  Group& state = groups_[Index(group)];
  if (state.idle_count == 0) return false;
  const NodeId node = state.node_of_block[state.next[state.allocator->block_count()]];
  ForgetBlock(node, group);
  DropIfUnused(node);
  ++eviction_count_;
  return true;
}

void PrefixCache::ForgetPrefix(NodeId node) {
  TESSERA_CHECK(nodes_[node].pin_count > 0);  // so the nodes before it stay, too
  for (; node != kNoNode; node = nodes_[node].key.parent) {
    for (const KvGroup group : {KvGroup::kFull, KvGroup::kSliding}) {
      if (BlockOf(node, group)) ForgetBlock(node, group);
    }
  }
}

void PrefixCache::ForgetBlock(NodeId node, KvGroup group) {
  Group& state = groups_[Index(group)];
  const uint32_t block = std::exchange(nodes_[node].blocks[Index(group)], kNoBlock);
  if (state.allocator->ref_count(block) == 1) UnlinkIdle(state, block);
  state.node_of_block[block] = kNoNode;
  state.allocator->Release(block);
}

PrefixCache::NodeId PrefixCache::NewNode() {
  if (free_nodes_.empty()) {
    nodes_.emplace_back();
    return static_cast<NodeId>(nodes_.size() - 1);
  }
  const NodeId node = free_nodes_.back();
  free_nodes_.pop_back();
  nodes_[node] = Node();
  return node;
}

void PrefixCache::DropIfUnused(NodeId node) {
  while (node != kNoNode) {
    const Node& dead = nodes_[node];
    const bool has_block = std::any_of(dead.blocks.begin(), dead.blocks.end(),
                                       [](uint32_t block) { return block != kNoBlock; });
    if (has_block || dead.child_count > 0 || dead.pin_count > 0) return;
    const NodeId parent = dead.key.parent;
    if (parent == kNoNode) {
      roots_.erase(dead.salt);
    } else {
      children_.erase(dead.key);
      --nodes_[parent].child_count;
    }
    free_nodes_.push_back(node);
    node = parent;
  }
}

void PrefixCache::LinkIdle(Group& group, uint32_t block) {
  const uint32_t head = static_cast<uint32_t>(group.allocator->block_count());
  group.prev[block] = group.prev[head];
  group.next[block] = head;
  group.next[group.prev[head]] = block;
  group.prev[head] = block;
  ++group.idle_count;
}

void PrefixCache::UnlinkIdle(Group& group, uint32_t block) {
  group.next[group.prev[block]] = group.next[block];
  group.prev[group.next[block]] = group.prev[block];
  --group.idle_count;
}

}  // namespace tessera::router
