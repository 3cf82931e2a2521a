#pragma once

// What every command has in common.

#include <iosfwd>
#include <span>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "services/cli/flag_set.h"

namespace tessera::cli {

// Where a command reads and writes; borrowed.
struct Streams {
  std::istream& in;
  std::ostream& out;  // results
  std::ostream& err;  // errors, progress
};

// Whether `stream` is standard output or error and a person watches it.
bool IsTerminal(const std::ostream& stream);
// Whether `stream` is standard input and a person types it.
bool IsTerminal(const std::istream& stream);

// The frame of every command: parses the flags, answers --help, runs `body` and turns its status
// into a message on `err` and an exit code.
int RunWithFlags(FlagSet& flags, std::span<const std::string_view> args, const Streams& streams,
                 absl::FunctionRef<absl::Status()> body);

}  // namespace tessera::cli
