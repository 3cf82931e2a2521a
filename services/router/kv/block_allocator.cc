#include "services/router/kv/block_allocator.h"

#include "common/base/check.h"

namespace tessera::router {

BlockAllocator::BlockAllocator(size_t block_count) : refs_(block_count, 0), free_(block_count) {
  // Block 0 comes first: a lightly used cache touches (and commits) only its first pages.
  for (size_t i = 0; i < block_count; ++i) free_[i] = static_cast<uint32_t>(block_count - 1 - i);
}

uint32_t BlockAllocator::ref_count(uint32_t block) const {
  TESSERA_CHECK(block < refs_.size());
  return refs_[block];
}

std::optional<uint32_t> BlockAllocator::Allocate() {
  if (free_.empty()) return std::nullopt;
  const uint32_t block = free_.back();
  free_.pop_back();
  refs_[block] = 1;
  return block;
}

void BlockAllocator::AddRef(uint32_t block) {
  TESSERA_CHECK(block < refs_.size() && refs_[block] > 0);
  ++refs_[block];
}

bool BlockAllocator::Release(uint32_t block) {
  TESSERA_CHECK(block < refs_.size() && refs_[block] > 0);
  if (--refs_[block] > 0) return false;
  free_.push_back(block);
  return true;
}

}  // namespace tessera::router
