#include "services/cli/command.h"

#include <algorithm>
#include <array>
#include <ostream>
#include <string>

#include "services/cli/bench_command.h"
#include "services/cli/chat/chat_command.h"
#include "services/cli/generate_command.h"
#include "services/cli/inspect_command.h"
#include "services/cli/key_command.h"
#include "services/cli/logits_command.h"
#include "services/cli/plan/plan_command.h"
#include "services/cli/tokenize_command.h"
#include "services/cli/top/top_command.h"
#include "services/cli/up/scale_command.h"
#include "services/cli/up/up_command.h"

namespace tessera::cli {
namespace {

int Tokenize(std::span<const std::string_view> args, const Streams& streams) {
  return RunTokenize(args, streams.in, streams.out, streams.err);
}

constexpr std::array kCommands = {
    Command{"up", "a whole cluster on this box, until Ctrl-C", &RunUp},
    Command{"scale", "more or fewer shards for a running cluster", &RunScale},
    Command{"chat", "a conversation with a running cluster", &RunChat},
    Command{"top", "speed, shards and experts of a running cluster, live", &RunTop},
    Command{"generate", "token ids to token ids, by a running cluster", &RunGenerate},
    Command{"inspect", "what a checkpoint holds, how big it is, and where it fits", &RunInspect},
    Command{"logits", "the logits of every position of a list of token ids", &RunLogits},
    Command{"bench", "speed of prefill and decode, and the share of the machine's limit",
            &RunBench},
    Command{"plan", "how many machines a load needs, simulated clusters, what balance gains",
            &RunPlan},
    Command{"key", "an API key for gateways with a keys file", &RunKey},
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
