#pragma once

// A file's bytes in memory, read-only, safe against the file shrinking (see map_guard.h).

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/weights/map_guard.h"

namespace tessera {

// Movable; the bytes stay where they are. Thread-safe: all methods may run at once with reads.
class MappedFile {
 public:
  // Errors: kNotFound (no such file), kPermissionDenied, kDataLoss (a directory or device, or
  // empty), kResourceExhausted (address space, guards). Messages begin with `path`.
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_bytes_}; }

  // True once a read found bytes that the file no longer had; they read as zeros since.
  bool damaged() const { return guard_.damaged(); }
  // Lowest offset that is known to be lost. Calls fstat: a file that lost part of its last page
  // raises no fault, yet reads as zeros there. Nothing lost: size of the file.
  size_t IntactBytes() const;
  // True if the file was written to since it was opened (size or time of modification).
  bool Changed() const;

  // Asks the kernel to read `part` of bytes() ahead, or to take its pages out of this process
  // (they come back from the page cache when touched). Hints: no effect on what is read.
  static void Prefetch(std::span<const std::byte> part);
  static void Release(std::span<const std::byte> part);

 private:
  MappedFile() = default;
  void Swap(MappedFile& other) noexcept;
  std::string path_;
  int descriptor_ = -1;
  const std::byte* data_ = nullptr;
  size_t size_bytes_ = 0;
  int64_t modified_nanoseconds_ = 0;
  MapGuard guard_;
};

}  // namespace tessera
