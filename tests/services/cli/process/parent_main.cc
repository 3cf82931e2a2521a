// Starts a program that runs for ever, prints its process id and runs for ever itself.
//   cli_process_parent PROGRAM WORDS...

#include <unistd.h>

#include <cstdio>
#include <string>

#include "services/cli/process/child_process.h"

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  tessera::cli::ChildCommand command;
  command.program = argv[1];
  command.arguments.assign(argv + 2, argv + argc);
  const auto child = tessera::cli::ChildProcess::Start(command);
  if (!child.ok()) return 1;
  std::printf("%d\n", (*child)->pid());
  std::fflush(stdout);
  while (true) pause();
}
