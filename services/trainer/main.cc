#include <iostream>
#include <string_view>
#include <vector>

#include "services/trainer/trainer_commands.h"

int main(int argc, char** argv) {
  const std::vector<std::string_view> args(argv + 1, argv + argc);
  return tessera::trainer::RunTrainerCommand(args, {std::cin, std::cout, std::cerr});
}
