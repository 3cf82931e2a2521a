#include "services/router/kv/block_allocator.h"

#include <set>

#include "gtest/gtest.h"

namespace tessera::router {
namespace {

TEST(BlockAllocator, HandsOutEachBlockOnce) {
  BlockAllocator allocator(5);
  std::set<uint32_t> blocks;
  for (int i = 0; i < 5; ++i) blocks.insert(allocator.Allocate().value());
  EXPECT_EQ(blocks, (std::set<uint32_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(allocator.free_count(), 0u);
  EXPECT_EQ(allocator.used_count(), 5u);
  EXPECT_FALSE(allocator.Allocate().has_value());
}

TEST(BlockAllocator, ABlockIsFreeAfterItsLastOwner) {
  BlockAllocator allocator(1);
  const uint32_t block = *allocator.Allocate();
  allocator.AddRef(block);
  EXPECT_EQ(allocator.ref_count(block), 2u);
  EXPECT_FALSE(allocator.Release(block));
  EXPECT_EQ(allocator.free_count(), 0u);
  EXPECT_TRUE(allocator.Release(block));
  EXPECT_EQ(allocator.free_count(), 1u);
  EXPECT_EQ(allocator.Allocate(), block);
}

TEST(BlockAllocatorDeathTest, OwnersAreCountedExactly) {
  BlockAllocator allocator(2);
  const uint32_t block = *allocator.Allocate();
  allocator.Release(block);
  EXPECT_DEATH(allocator.Release(block), "refs_");
  EXPECT_DEATH(allocator.AddRef(block), "refs_");
  EXPECT_DEATH(allocator.Release(2), "refs_");
}

}  // namespace
}  // namespace tessera::router
