#pragma once

// Runs a program from a test.

#include <string>

namespace tessera::tidy {

struct CommandResult {
  int exit_code = -1;  // -1: did not run or died by a signal
  std::string output;  // standard output and standard error
};

// `command` is for the shell. Blocks until it has ended.
CommandResult RunCommand(const std::string& command);

}  // namespace tessera::tidy
