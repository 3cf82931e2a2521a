#include "services/cli/process/state_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/entropy.h"
#include "common/base/file.h"
#include "common/base/status.h"

namespace tessera::cli {
namespace {

absl::Status CannotWrite(const std::string& path) {
  return absl::UnavailableError(absl::StrCat("cannot write ", path, ": ", std::strerror(errno)));
}

std::string ReadLine(int fd) {
  std::array<char, 32> text{};
  const ssize_t bytes = pread(fd, text.data(), text.size() - 1, 0);
  return std::string(
      absl::StripSuffix({text.data(), static_cast<size_t>(std::max<ssize_t>(0, bytes))}, "\n"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<StateDir>> StateDir::Open(const std::string& path) {
  std::error_code error;
  const std::string folder = std::filesystem::absolute(path, error).lexically_normal().string();
  std::filesystem::create_directories(folder + "/logs", error);
  if (error) {
    return absl::UnavailableError(absl::StrCat("cannot make ", folder, ": ", error.message()));
  }
  const std::string lock = folder + "/lock";
  const int fd = open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return CannotWrite(lock);
  std::unique_ptr<StateDir> state(new StateDir(folder, fd));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(absl::StrCat("process ", ReadLine(fd),
                                                      " runs a cluster in ", folder,
                                                      "; stop it, or choose another --state_dir"));
  }
  const std::string pid = absl::StrCat(getpid(), "\n");
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0) return CannotWrite(lock);
  unlink(state->File("cluster.json").c_str());
  return state;
}

StateDir::~StateDir() { close(lock_fd_); }

absl::StatusOr<std::string> StateDir::WriteSecret() const {
  std::array<char, 32> random;
  FillWithEntropy(std::as_writable_bytes(std::span(random)));
  std::string path = File("cluster.secret");
  TESSERA_RETURN_IF_ERROR(ReplaceFile(
      path, absl::StrCat(absl::BytesToHexString({random.data(), random.size()}), "\n"), 0600));
  return path;
}

}  // namespace tessera::cli
