#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "common/tensor/aligned_buffer.h"

namespace tessera {

// The frames of one link's slots in one piece of memory, shared with whoever still reads from it.
// Pages are committed when first written, so large limits cost nothing until used.
class FramePool {
 public:
  FramePool() = default;
  // kResourceExhausted if the memory cannot be had.
  static absl::StatusOr<FramePool> Allocate(size_t count, size_t frame_bytes);

  std::span<std::byte> frame(size_t index) const {
    return {buffer_->data() + index * stride_, frame_bytes_};
  }
  std::shared_ptr<const void> memory() const { return buffer_; }

 private:
  std::shared_ptr<const AlignedBuffer> buffer_;
  size_t frame_bytes_ = 0;
  size_t stride_ = 0;
};

// A small frame of its own (HELLO, PING, NACK...).
struct ControlFrame {
  static constexpr size_t kBytes = 256;
  alignas(8) std::byte bytes[kBytes] = {};
};

}  // namespace tessera
