#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace tessera::router {

// A fixed number of blocks with reference counts. A block belongs to every sequence whose table
// names it and, if its content is remembered, to the prefix cache. Owned by the engine thread.
class BlockAllocator {
 public:
  explicit BlockAllocator(size_t block_count);

  size_t block_count() const { return refs_.size(); }
  size_t free_count() const { return free_.size(); }
  size_t used_count() const { return refs_.size() - free_.size(); }
  uint32_t ref_count(uint32_t block) const;

  // A free block with one reference; nothing if there is none.
  std::optional<uint32_t> Allocate();
  void AddRef(uint32_t block);   // of a block that has references
  bool Release(uint32_t block);  // true if that was the last one and the block is free again

 private:
  std::vector<uint32_t> refs_;
  std::vector<uint32_t> free_;  // a stack: the last freed is still warm in the caches
};

}  // namespace tessera::router
