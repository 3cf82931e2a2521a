#include "services/cli/command_frame.h"

#include <unistd.h>

#include <iostream>

namespace tessera::cli {

bool IsTerminal(const std::ostream& stream) {
  if (&stream == &std::cerr) return isatty(STDERR_FILENO) == 1;
  return &stream == &std::cout && isatty(STDOUT_FILENO) == 1;
}

bool IsTerminal(const std::istream& stream) {
  return &stream == &std::cin && isatty(STDIN_FILENO) == 1;
}

int RunWithFlags(FlagSet& flags, std::span<const std::string_view> args, const Streams& streams,
                 absl::FunctionRef<absl::Status()> body) {
  if (absl::Status status = flags.Parse(args); !status.ok()) {
    streams.err << status.message() << "\n";
    return 2;
  }
  if (flags.help_wanted()) {
    streams.out << flags.Help();
    return 0;
  }
  const absl::Status status = body();
  if (status.ok()) return 0;
  streams.err << "error: " << status.message() << " (" << absl::StatusCodeToString(status.code())
              << ")\n";
  return status.code() == absl::StatusCode::kInvalidArgument ? 2 : 1;
}

}  // namespace tessera::cli
