#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <queue>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/tensor/aligned_buffer.h"

namespace tessera::expert_shard {

// Memory of packed experts: pieces of one size out of one large mapping (huge pages, experts of a
// layer side by side). A piece comes back when the last who uses it lets go, and the lowest free
// one is given next, so what is resident is bounded by the most that was ever held. Thread-safe.
class SlotMemory : public std::enable_shared_from_this<SlotMemory> {
 public:
  // `piece_bytes` is a multiple of 64. Pages are committed when first written. kResourceExhausted
  // if the address space does not allow it.
  static absl::StatusOr<std::shared_ptr<SlotMemory>> Allocate(size_t piece_bytes,
                                                              size_t piece_count);

  // A piece, 64-byte aligned, with arbitrary contents; null if all are in use.
  std::shared_ptr<std::byte> Take();
  size_t piece_bytes() const { return piece_bytes_; }

 private:
  SlotMemory(AlignedBuffer bytes, size_t piece_bytes, size_t piece_count);

  const AlignedBuffer bytes_;
  const size_t piece_bytes_;

  absl::Mutex mutex_;
  std::priority_queue<size_t, std::vector<size_t>, std::greater<>> free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::expert_shard
