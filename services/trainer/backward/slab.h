#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "common/base/check.h"
#include "common/base/status.h"
#include "common/tensor/aligned_buffer.h"

namespace tessera::trainer {

// One piece of memory handed out array by array, each aligned to 64 bytes. The same code runs twice
// over it: once to measure (a default slab gives null and counts), once to take.
template <typename T>
class Slab {
 public:
  Slab() = default;
  // kResourceExhausted if there is no such memory. Zeroed.
  static absl::StatusOr<Slab> Allocate(size_t size) {
    Slab slab;
    TESSERA_ASSIGN_OR_RETURN(slab.buffer_, AlignedBuffer::Allocate(size * sizeof(T)));
    slab.capacity_ = size;
    return slab;
  }
  T* Take(size_t size) {
    T* const begin = capacity_ == 0 ? nullptr : buffer_.as<T>().data() + taken_;
    constexpr size_t kRound = 64 / sizeof(T);
    taken_ += (size + kRound - 1) / kRound * kRound;
    TESSERA_CHECK(capacity_ == 0 || taken_ <= capacity_);
    return begin;
  }
  size_t taken() const { return taken_; }
  T* data() const { return buffer_.as<T>().data(); }
  std::span<T> span() const { return buffer_.as<T>(); }  // all of it

 private:
  AlignedBuffer buffer_;
  size_t capacity_ = 0;
  size_t taken_ = 0;
};

}  // namespace tessera::trainer
