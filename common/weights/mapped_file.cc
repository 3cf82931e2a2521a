#include "common/weights/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera {
namespace {

int64_t ModifiedNanoseconds(const struct stat& info) {
  return int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
}

void Advise(std::span<const std::byte> part, int advice) {
  if (part.empty()) return;
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(part.data()) & ~(page - 1);
  const uintptr_t end = reinterpret_cast<uintptr_t>(part.data()) + part.size();
  madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

}  // namespace

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  MappedFile file;
  file.path_ = path;
  // O_NONBLOCK: a pipe in the place of a file must not make us wait for its writer.
  file.descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.descriptor_ < 0) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": open"));
  struct stat info = {};
  if (fstat(file.descriptor_, &info) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat(path, ": fstat"));
  if (!S_ISREG(info.st_mode))
    return absl::DataLossError(absl::StrCat(path, ": not a regular file"));
  if (info.st_size <= 0) return absl::DataLossError(absl::StrCat(path, ": the file is empty"));
  file.size_bytes_ = static_cast<size_t>(info.st_size);
  file.modified_nanoseconds_ = ModifiedNanoseconds(info);
  void* data =
      mmap(nullptr, file.size_bytes_, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, file.descriptor_, 0);
  if (data == MAP_FAILED)
    return absl::ResourceExhaustedError(
        absl::StrCat(path, ": ", file.size_bytes_, " bytes cannot be mapped, error ", errno));
  file.data_ = static_cast<const std::byte*>(data);
  absl::StatusOr<MapGuard> guard = MapGuard::Protect(file.bytes());
  if (!guard.ok()) return Annotate(guard.status(), path);
  file.guard_ = std::move(guard).value();
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept { Swap(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  Swap(other);
  return *this;
}

MappedFile::~MappedFile() {
  guard_ = MapGuard();  // swaps: the old guard ends with the temporary, before the map does
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_bytes_);
  if (descriptor_ >= 0) close(descriptor_);
}

void MappedFile::Swap(MappedFile& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  std::swap(modified_nanoseconds_, other.modified_nanoseconds_);
  std::swap(guard_, other.guard_);
}

size_t MappedFile::IntactBytes() const {
  size_t intact = guard_.damaged_from().value_or(size_bytes_);
  struct stat info = {};
  if (fstat(descriptor_, &info) == 0) intact = std::min(intact, static_cast<size_t>(info.st_size));
  return intact;
}

bool MappedFile::Changed() const {
  struct stat info = {};
  if (fstat(descriptor_, &info) != 0) return true;
  return static_cast<size_t>(info.st_size) != size_bytes_ ||
         ModifiedNanoseconds(info) != modified_nanoseconds_;
}

void MappedFile::Prefetch(std::span<const std::byte> part) { Advise(part, MADV_WILLNEED); }
void MappedFile::Release(std::span<const std::byte> part) { Advise(part, MADV_DONTNEED); }

}  // namespace tessera
