#include "services/expert_shard/experts/slot_memory.h"

#include <utility>

#include "common/base/status.h"

namespace tessera::expert_shard {

SlotMemory::SlotMemory(AlignedBuffer bytes, size_t piece_bytes, size_t piece_count)
    : bytes_(std::move(bytes)), piece_bytes_(piece_bytes) {
  for (size_t i = 0; i < piece_count; ++i) free_.push(i);
}

absl::StatusOr<std::shared_ptr<SlotMemory>> SlotMemory::Allocate(size_t piece_bytes,
                                                                 size_t piece_count) {
  TESSERA_ASSIGN_OR_RETURN(AlignedBuffer bytes, AlignedBuffer::Allocate(piece_bytes * piece_count));
  return std::shared_ptr<SlotMemory>(new SlotMemory(std::move(bytes), piece_bytes, piece_count));
}

std::shared_ptr<std::byte> SlotMemory::Take() {
  absl::MutexLock lock(&mutex_);
  if (free_.empty()) return nullptr;
  const size_t piece = free_.top();
  free_.pop();
  return {bytes_.data() + piece * piece_bytes_, [memory = shared_from_this(), piece](std::byte*) {
            absl::MutexLock giving_back(&memory->mutex_);
            memory->free_.push(piece);
          }};
}

}  // namespace tessera::expert_shard
