#include "services/router/kv/prefix_cache.h"

#include <numeric>
#include <vector>

#include "gtest/gtest.h"

namespace tessera::router {
namespace {

using NodeId = PrefixCache::NodeId;

class PrefixCacheTest : public ::testing::Test {
 protected:
  // 16 tokens first, first + 1, ...
  static std::vector<TokenId> Tokens(TokenId first) {
    std::vector<TokenId> tokens(kBlockTokens);
    std::iota(tokens.begin(), tokens.end(), first);
    return tokens;
  }
  static PrefixCache::BlockTokens Span(const std::vector<TokenId>& tokens) {
    return std::span<const TokenId>(tokens).first<kBlockTokens>();
  }
  // A remembered full block under `parent`, which only the cache owns afterwards.
  NodeId AddIdle(NodeId parent, TokenId first) {
    const std::vector<TokenId> tokens = Tokens(first);
    const NodeId node = cache_.PinChild(parent, Span(tokens));
    const uint32_t block = *full_.Allocate();
    cache_.Remember(node, KvGroup::kFull, block);
    cache_.Release(KvGroup::kFull, block);
    cache_.Unpin(node);
    return node;
  }

  BlockAllocator full_{4};
  BlockAllocator sliding_{4};
  PrefixCache cache_{full_, sliding_};
};

TEST_F(PrefixCacheTest, FindsByParentTokensAndSalt) {
  const NodeId root = cache_.PinRoot("a");
  const NodeId other_root = cache_.PinRoot("b");
  EXPECT_NE(root, other_root);
  const NodeId node = AddIdle(root, 0);
  EXPECT_EQ(cache_.FindRoot("a"), root);
  EXPECT_EQ(cache_.FindRoot("c"), PrefixCache::kNoNode);
  EXPECT_EQ(cache_.FindChild(root, Span(Tokens(0))), node);
  EXPECT_EQ(cache_.FindChild(other_root, Span(Tokens(0))), PrefixCache::kNoNode);
  EXPECT_EQ(cache_.FindChild(node, Span(Tokens(0))), PrefixCache::kNoNode);
  std::vector<TokenId> almost = Tokens(0);
  almost.back() = 99;
  EXPECT_EQ(cache_.FindChild(root, Span(almost)), PrefixCache::kNoNode);
}

TEST_F(PrefixCacheTest, EvictsTheLongestIdleFirst) {
  const NodeId root = cache_.PinRoot("");
  const NodeId a = AddIdle(root, 0);
  const NodeId b = AddIdle(root, 100);
  const NodeId c = AddIdle(root, 200);
  const uint32_t block_a = *cache_.BlockOf(a, KvGroup::kFull);
  const uint32_t block_b = *cache_.BlockOf(b, KvGroup::kFull);
  const uint32_t block_c = *cache_.BlockOf(c, KvGroup::kFull);
  // a is used and given back: now b has been idle for the longest time.
  cache_.Acquire(KvGroup::kFull, block_a);
  EXPECT_EQ(cache_.idle_count(KvGroup::kFull), 2u);
  cache_.Release(KvGroup::kFull, block_a);
  EXPECT_EQ(cache_.idle_count(KvGroup::kFull), 3u);

  ASSERT_TRUE(cache_.Evict(KvGroup::kFull));
  EXPECT_FALSE(cache_.Remembers(KvGroup::kFull, block_b));
  ASSERT_TRUE(cache_.Evict(KvGroup::kFull));
  EXPECT_FALSE(cache_.Remembers(KvGroup::kFull, block_c));
  ASSERT_TRUE(cache_.Evict(KvGroup::kFull));
  EXPECT_FALSE(cache_.Remembers(KvGroup::kFull, block_a));
  EXPECT_FALSE(cache_.Evict(KvGroup::kFull));
  EXPECT_EQ(full_.free_count(), 4u);
  EXPECT_EQ(cache_.eviction_count(), 3u);
}

TEST_F(PrefixCacheTest, ABlockInUseIsNeverEvicted) {
  const NodeId node = AddIdle(cache_.PinRoot(""), 0);
  const uint32_t block = *cache_.BlockOf(node, KvGroup::kFull);
  cache_.Acquire(KvGroup::kFull, block);
  cache_.Acquire(KvGroup::kFull, block);
  EXPECT_FALSE(cache_.Evict(KvGroup::kFull));
  cache_.Release(KvGroup::kFull, block);
  EXPECT_FALSE(cache_.Evict(KvGroup::kFull));
  cache_.Release(KvGroup::kFull, block);
  EXPECT_TRUE(cache_.Evict(KvGroup::kFull));
}

TEST_F(PrefixCacheTest, TheGroupsForgetApart) {
  const NodeId node = AddIdle(cache_.PinRoot(""), 0);
  const uint32_t block = *sliding_.Allocate();
  cache_.Remember(node, KvGroup::kSliding, block);
  EXPECT_TRUE(cache_.Evict(KvGroup::kFull));
  EXPECT_FALSE(cache_.BlockOf(node, KvGroup::kFull).has_value());
  EXPECT_EQ(cache_.BlockOf(node, KvGroup::kSliding), block);
}

TEST_F(PrefixCacheTest, NodesLiveWhileTheyHoldABlockAChildOrAPin) {
  const NodeId root = cache_.PinRoot("salt");
  const NodeId parent = AddIdle(root, 0);
  const NodeId child = AddIdle(parent, 16);
  cache_.Unpin(root);
  EXPECT_EQ(cache_.node_count(), 3u);
  EXPECT_TRUE(cache_.Evict(KvGroup::kFull));  // the parent's block; the child holds the node
  EXPECT_FALSE(cache_.BlockOf(parent, KvGroup::kFull).has_value());
  EXPECT_EQ(cache_.FindChild(parent, Span(Tokens(16))), child);
  cache_.Pin(child);
  EXPECT_TRUE(cache_.Evict(KvGroup::kFull));
  EXPECT_EQ(cache_.node_count(), 3u);
  cache_.Unpin(child);
  EXPECT_EQ(cache_.node_count(), 0u);
  EXPECT_EQ(cache_.FindRoot("salt"), PrefixCache::kNoNode);
}

}  // namespace
}  // namespace tessera::router
