#include "common/transport/frame_pool.h"

#include <utility>

#include "common/base/status.h"
#include "common/wire/expert_wire.h"

namespace tessera {

absl::StatusOr<FramePool> FramePool::Allocate(size_t count, size_t frame_bytes) {
  FramePool pool;
  pool.frame_bytes_ = frame_bytes;
  pool.stride_ = wire::AlignSection(frame_bytes);
  TESSERA_ASSIGN_OR_RETURN(AlignedBuffer buffer, AlignedBuffer::Allocate(count * pool.stride_));
  pool.buffer_ = std::make_shared<const AlignedBuffer>(std::move(buffer));
  return pool;
}

}  // namespace tessera
