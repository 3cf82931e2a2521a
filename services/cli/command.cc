#include "services/cli/command.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <iostream>

#include "services/cli/bench_command.h"
#include "services/cli/inspect_command.h"
#include "services/cli/logits_command.h"
#include "services/cli/tokenize_command.h"

namespace tessera::cli {
namespace {

int Tokenize(std::span<const std::string_view> args, const Streams& streams) {
  return RunTokenize(args, streams.in, streams.out, streams.err);
}

constexpr std::array kCommands = {
    Command{"inspect", "what a checkpoint holds, how big it is, and where it fits", &RunInspect},
    Command{"logits", "the logits of every position of a list of token ids", &RunLogits},
    Command{"bench", "speed of prefill and decode, and the share of the machine's limit",
            &RunBench},
    Command{"tokenize", "texts to token ids and back, line by line", &Tokenize},
};

void PrintCommands(std::ostream& out) {
  out << "usage: tessera COMMAND [flags]\n\n";
  for (const Command& command : kCommands) {
    out << "  " << command.name << std::string(10 - command.name.size(), ' ') << command.summary
        << "\n";
  }
  out << "\ntessera COMMAND --help lists the flags of a command.\n";
}

}  // namespace

std::span<const Command> Commands() { return kCommands; }

bool IsTerminal(const std::ostream& stream) {
  if (&stream == &std::cerr) return isatty(STDERR_FILENO) == 1;
  return &stream == &std::cout && isatty(STDOUT_FILENO) == 1;
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

int RunCommand(std::span<const std::string_view> args, const Streams& streams) {
  if (args.empty() || args[0] == "help" || args[0] == "--help" || args[0] == "-h") {
    PrintCommands(args.empty() ? streams.err : streams.out);
    return args.empty() ? 2 : 0;
  }
  const auto found = std::ranges::find(kCommands, args[0], &Command::name);
  if (found == kCommands.end()) {
    streams.err << "tessera has no command '" << args[0] << "'\n\n";
    PrintCommands(streams.err);
    return 2;
  }
  return found->run(args.subspan(1), streams);
}

}  // namespace tessera::cli
