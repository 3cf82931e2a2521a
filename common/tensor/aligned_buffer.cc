#include "common/tensor/aligned_buffer.h"

#include <sys/mman.h>

#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

namespace tessera {

namespace {
constexpr size_t kHugePageBytes = size_t{2} << 20;
constexpr size_t kPageBytes = 4096;

// Small buffers keep small pages: rounding them to 2 MiB would cost more memory than it saves time.
size_t MappedBytes(size_t size_bytes) {
  const size_t unit = size_bytes >= kHugePageBytes ? kHugePageBytes : kPageBytes;
  return (size_bytes + unit - 1) / unit * unit;
}
}  // namespace

absl::StatusOr<AlignedBuffer> AlignedBuffer::Allocate(size_t size_bytes) {
  AlignedBuffer buffer;
  if (size_bytes == 0) return buffer;
  const size_t mapped = MappedBytes(size_bytes);
  // One huge page more, so that the start can be moved to a huge page's border.
  const size_t slack = mapped >= kHugePageBytes ? kHugePageBytes : 0;
  void* base = mmap(nullptr, mapped + slack, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot map ", size_bytes, " bytes: ", strerror(errno)));
  }
  auto* start = static_cast<std::byte*>(base);
  if (slack != 0) {
    const size_t before =
        (kHugePageBytes - reinterpret_cast<size_t>(base) % kHugePageBytes) % kHugePageBytes;
    if (before != 0) munmap(start, before);
    if (slack != before) munmap(start + before + mapped, slack - before);
    start += before;
    madvise(start, mapped, MADV_HUGEPAGE);  // a wish; without huge pages everything works, slower
  }
  buffer.data_ = start;
  buffer.size_bytes_ = size_bytes;
  buffer.mapped_bytes_ = mapped;
  return buffer;
}

AlignedBuffer::~AlignedBuffer() {
  if (data_ != nullptr) munmap(data_, mapped_bytes_);
}

}  // namespace tessera
