#pragma once

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::trainer {

// One word of the program `tessera-train`. `run` gets the words after its own and returns the exit
// code: 0 done, 1 failed (the reason is on `err`), 2 wrong usage.
struct TrainerCommand {
  std::string_view name;
  std::string_view summary;
  int (*run)(std::span<const std::string_view> args, const cli::Streams& streams);
};

// Runs the command named by args[0]; without one, or for "help", prints what there is.
int RunTrainerCommand(std::span<const std::string_view> args, const cli::Streams& streams);

}  // namespace tessera::trainer
