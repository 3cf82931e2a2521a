#include "common/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace tessera {
namespace {

constexpr size_t kReadBytes = size_t{64} << 10;

// A file descriptor that is closed with the object.
class OpenFile {
 public:
  explicit OpenFile(int fd) : fd_(fd) {}
  ~OpenFile() {
    if (fd_ >= 0) close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

std::string CannotBe(const char* verb, const std::string& path) {
  return absl::StrCat(path, ": cannot be ", verb, ": ", std::strerror(errno));
}

// False: errno says why.
bool WriteAll(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t bytes = write(fd, content.data(), content.size());
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return false;
    content.remove_prefix(static_cast<size_t>(bytes));
  }
  return true;
}

}  // namespace

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, size_t bytes_max) {
  const OpenFile file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd() < 0) {
    const bool absent = errno == ENOENT || errno == ENOTDIR;
    const std::string why = CannotBe("read", path);
    return absent ? absl::NotFoundError(why) : absl::UnavailableError(why);
  }
  struct stat info {};
  // What it says of its size is a hint: files of /proc say 0, and others may grow meanwhile.
  const size_t hint = fstat(file.fd(), &info) == 0 ? static_cast<size_t>(info.st_size) : 0;
  std::string content;
  for (size_t size = 0;;) {
    if (size > bytes_max) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": is too large; at most ", bytes_max, " bytes are read"));
    }
    // One byte more than it should hold tells whether that is all.
    if (size == content.size()) {
      content.resize(std::min(std::max(hint, size + kReadBytes), bytes_max) + 1);
    }
    const ssize_t bytes = read(file.fd(), content.data() + size, content.size() - size);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) return absl::DataLossError(CannotBe("read", path));
    size += static_cast<size_t>(bytes);
    if (bytes == 0) {
      content.resize(size);
      return content;
    }
  }
}

absl::Status ReplaceFile(const std::string& path, std::string_view content, unsigned mode) {
  const std::string part = absl::StrCat(path, ".", getpid(), ".part");
  unlink(part.c_str());
  const int fd = open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return absl::UnavailableError(CannotBe("written", path));
  const bool written = WriteAll(fd, content) && fsync(fd) == 0;
  const int error = errno;
  const bool closed = close(fd) == 0;
  if (written && closed && std::rename(part.c_str(), path.c_str()) == 0) return absl::OkStatus();
  if (!written) errno = error;
  absl::Status status = absl::UnavailableError(CannotBe("written", path));
  unlink(part.c_str());
  return status;
}

}  // namespace tessera
