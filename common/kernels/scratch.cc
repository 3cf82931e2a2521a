#include "common/kernels/scratch.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace tessera::kernels {

void Scratch::PrepareWorkers(size_t worker_count) {
  if (workers_.size() < worker_count) workers_.resize(worker_count);
}

std::byte* Scratch::Reserve(AlignedBuffer& buffer, size_t size_bytes) {
  if (buffer.size_bytes() < size_bytes || buffer.data() == nullptr) {
    // A quarter more than asked: batches that grow row by row do not allocate each time.
    absl::StatusOr<AlignedBuffer> larger =
        AlignedBuffer::Allocate(std::max<size_t>(size_bytes + size_bytes / 4, 4096));
    TESSERA_CHECK(larger.ok());
    buffer = *std::move(larger);
  }
  return buffer.data();
}

}  // namespace tessera::kernels
