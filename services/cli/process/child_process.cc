#include "services/cli/process/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"

namespace tessera::cli {
namespace {

// What the child does between fork and exec; only calls that are safe there.
[[noreturn]] void BecomeChild(char* const* words, int output_fd, int null_fd, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) raise(SIGKILL);  // it died before prctl took effect: the same end
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  for (const int signal : {SIGINT, SIGTERM, SIGPIPE, SIGHUP}) sigaction(signal, &usual, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(null_fd, STDIN_FILENO);
  if (output_fd >= 0) {
    dup2(output_fd, STDOUT_FILENO);
    dup2(output_fd, STDERR_FILENO);
  }
  execv(words[0], words);
  _exit(127);
}

absl::Status Failed(const std::string& what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

ChildEnd EndOf(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return {.exit_code = info.si_status, .signal = 0};
  return {.exit_code = 0, .signal = info.si_status};
}

}  // namespace

std::string ChildEnd::ToString() const {
  if (signal == 0) return absl::StrCat("exit code ", exit_code);
  return absl::StrCat("signal ", signal, " (", strsignal(signal), ")");
}

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(const ChildCommand& command) {
  if (access(command.program.c_str(), X_OK) != 0) {
    return absl::NotFoundError(
        absl::StrCat("the program ", command.program, ": ", std::strerror(errno)));
  }
  const int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  int output_fd = -1;
  if (!command.output_file.empty()) {
    output_fd = open(command.output_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (output_fd < 0) {
      const absl::Status status = Failed(absl::StrCat("cannot write ", command.output_file));
      close(null_fd);
      return status;
    }
  }
  std::vector<std::string> texts = {command.program};
  texts.insert(texts.end(), command.arguments.begin(), command.arguments.end());
  std::vector<char*> words;
  for (std::string& text : texts) words.push_back(text.data());
  words.push_back(nullptr);

  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) BecomeChild(words.data(), output_fd, null_fd, parent);
  const absl::Status failed = pid < 0 ? Failed("fork") : absl::OkStatus();
  close(null_fd);
  if (output_fd >= 0) close(output_fd);
  if (!failed.ok()) return failed;
  // The glibc of the reference platform has no wrapper that every compiler accepts.
  const int end_fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  std::unique_ptr<ChildProcess> child(new ChildProcess(pid, end_fd));
  if (end_fd < 0) return Failed("pidfd_open");  // `child` kills and reaps it
  return child;
}

ChildProcess::~ChildProcess() {
  if (!end_.has_value()) {
    kill(pid_, SIGKILL);
    siginfo_t info{};
    while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED) != 0 && errno == EINTR) {
    }
  }
  if (end_fd_ >= 0) close(end_fd_);
}

void ChildProcess::Signal(int signal) {
  if (!end_.has_value()) kill(pid_, signal);
}

std::optional<ChildEnd> ChildProcess::Poll() {
  if (end_.has_value()) return end_;
  siginfo_t info{};
  const int result = waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG);
  TESSERA_CHECK(result == 0 || errno == EINTR);
  if (result == 0 && info.si_pid == pid_) end_ = EndOf(info);
  return end_;
}

std::optional<ChildEnd> ChildProcess::Wait(absl::Duration timeout) {
  if (Poll().has_value()) return end_;
  pollfd polled{end_fd_, POLLIN, 0};
  const int64_t ms =
      std::clamp<int64_t>(absl::ToInt64Milliseconds(timeout), 0, std::numeric_limits<int>::max());
  poll(&polled, 1, timeout == absl::InfiniteDuration() ? -1 : static_cast<int>(ms));
  return Poll();
}

ChildEnd ChildProcess::Stop(absl::Duration limit) {
  Signal(SIGTERM);
  Signal(SIGCONT);  // one that stands still could not stop
  if (!Wait(limit).has_value()) Signal(SIGKILL);
  while (!Wait(absl::InfiniteDuration()).has_value()) {
  }
  return *end_;
}

namespace {

absl::StatusOr<std::filesystem::path> ProgramFolder() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return absl::NotFoundError(absl::StrCat("/proc/self/exe: ", error.message()));
  return self.parent_path();
}

}  // namespace

absl::StatusOr<std::string> SiblingProgram(const std::string& name) {
  TESSERA_ASSIGN_OR_RETURN(const std::filesystem::path folder, ProgramFolder());
  std::string path = (folder / name).string();
  if (access(path.c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrCat("the program ", path, ": ", std::strerror(errno)));
  }
  return path;
}

absl::StatusOr<std::string> SharedFolder(const std::string& name) {
  TESSERA_ASSIGN_OR_RETURN(const std::filesystem::path folder, ProgramFolder());
  const std::filesystem::path path = folder.parent_path() / "share/tessera" / name;
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    return absl::NotFoundError(absl::StrCat("there is no folder ", path.string()));
  }
  return path.string();
}

}  // namespace tessera::cli
