#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "common/base/check.h"

namespace tessera {

// A program started by a test: killed and reaped with the object.
class ChildProcess {
 public:
  explicit ChildProcess(std::vector<std::string> command) {
    int to_child[2];
    int from_child[2];
    TESSERA_CHECK(pipe2(to_child, O_CLOEXEC) == 0 && pipe2(from_child, O_CLOEXEC) == 0);
    std::vector<char*> arguments;
    arguments.reserve(command.size() + 1);
    for (std::string& part : command) arguments.push_back(part.data());
    arguments.push_back(nullptr);
    pid_ = fork();
    TESSERA_CHECK(pid_ >= 0);
    if (pid_ == 0) {
      dup2(to_child[0], STDIN_FILENO);
      dup2(from_child[1], STDOUT_FILENO);
      execv(arguments[0], arguments.data());
      _exit(127);
    }
    close(to_child[0]);
    close(from_child[1]);
    input_ = to_child[1];
    output_ = from_child[0];
  }
  ~ChildProcess() {
    Signal(SIGKILL);
    waitpid(pid_, nullptr, 0);
    close(input_);
    close(output_);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Its next line of output without the line end; empty if it ended.
  std::string ReadLine() {
    std::string line;
    for (char byte; read(output_, &byte, 1) == 1 && byte != '\n';) line.push_back(byte);
    return line;
  }
  void Signal(int signal) { kill(pid_, signal); }
  // Stops it; it stands still when this returns.
  void Freeze() {
    Signal(SIGSTOP);
    waitpid(pid_, nullptr, WUNTRACED);
  }

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
};

}  // namespace tessera
