#pragma once

// One program started by this one, which dies with it and is always reaped.

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tessera::cli {

struct ChildCommand {
  std::string program;                 // path
  std::vector<std::string> arguments;  // without the program's name
  // Standard output and error are appended to it; empty: this program's own.
  std::string output_file;
};

// How a process ended.
struct ChildEnd {
  int exit_code = 0;  // if `signal` is 0
  int signal = 0;

  std::string ToString() const;  // "exit code 1", "signal 9 (Killed)"
};

// Thread-compatible. The thread that starts a child must live as long as this process does: the
// kernel ends the child with that thread.
class ChildProcess {
 public:
  // The child gets a process group of its own (the terminal's Ctrl-C does not reach it), no blocked
  // signals, standard input from /dev/null, and SIGKILL when this process dies, however that is.
  //   kNotFound     no such program
  //   kUnavailable  it cannot be started or its output file not be opened
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(const ChildCommand& command);
  // Kills and reaps it if it still runs.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  // Readable once it has ended; for poll.
  int end_fd() const { return end_fd_; }

  // To the process; nothing once it was reaped.
  void Signal(int signal);
  // How it ended, reaping it; nothing while it runs.
  std::optional<ChildEnd> Poll();
  // Waits until it ends; nothing if it still runs after `timeout`.
  std::optional<ChildEnd> Wait(absl::Duration timeout);
  // SIGTERM, after `limit` SIGKILL; returns how it ended.
  ChildEnd Stop(absl::Duration limit);

 private:
  ChildProcess(pid_t pid, int end_fd) : pid_(pid), end_fd_(end_fd) {}

  const pid_t pid_;
  const int end_fd_;
  std::optional<ChildEnd> end_;
};

// The path of a program beside the running one, wherever that was started: "tessera-router" ->
// "/opt/tessera/bin/tessera-router". kNotFound names the path if nothing executable is there.
absl::StatusOr<std::string> SiblingProgram(const std::string& name);

// A folder that belongs to the running program: "models/tessera-demo" of /opt/tessera/bin/tessera
// ->
// "/opt/tessera/share/tessera/models/tessera-demo". kNotFound names the path if it is not there.
absl::StatusOr<std::string> SharedFolder(const std::string& name);

}  // namespace tessera::cli
