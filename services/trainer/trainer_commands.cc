#include "services/trainer/trainer_commands.h"

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "services/trainer/corpus/corpus_command.h"
#include "services/trainer/eval/eval_command.h"
#include "services/trainer/run/balance_command.h"
#include "services/trainer/run/bench_command.h"
#include "services/trainer/run/train_command.h"
#include "services/trainer/tokenizer/tokenizer_command.h"

namespace tessera::trainer {
namespace {

// In the order of a model's making.
std::vector<TrainerCommand> Commands() {
  return {
      {"corpus", "shows what a model is trained on", &RunCorpus},
      {"tokenizer", "learns the tokenizer of a run from its corpus", &RunTokenizer},
      {"train", "trains the model that a file describes", &RunTrain},
      {"bench", "measures the speed of a run's steps beside what the CPU could do", &RunBench},
      {"balance", "measures how evenly a model's experts are loaded", &RunBalance},
      {"eval", "asks a served model held-out items and counts right answers", &RunEval},
  };
}

void PrintCommands(std::ostream& out) {
  out << "usage: tessera-train COMMAND [flags]\n\n";
  for (const TrainerCommand& command : Commands()) {
    out << "  " << command.name << std::string(11 - command.name.size(), ' ') << command.summary
        << "\n";
  }
  out << "\ntessera-train COMMAND --help lists the flags of a command.\n";
}

}  // namespace

int RunTrainerCommand(std::span<const std::string_view> args, const cli::Streams& streams) {
  if (args.empty() || args[0] == "help" || args[0] == "--help" || args[0] == "-h") {
    PrintCommands(args.empty() ? streams.err : streams.out);
    return args.empty() ? 2 : 0;
  }
  const std::vector<TrainerCommand> commands = Commands();
  const auto found = std::ranges::find(commands, args[0], &TrainerCommand::name);
  if (found == commands.end()) {
    streams.err << "tessera-train has no command '" << args[0] << "'\n\n";
    PrintCommands(streams.err);
    return 2;
  }
  return found->run(args.subspan(1), streams);
}

}  // namespace tessera::trainer
