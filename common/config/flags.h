#pragma once

// The command line of a service: where its config is, and single fields of it. Everything else a
// service can be told is in the config.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera {

struct ServiceFlags {
  std::optional<std::string> config_file;  // --config=FILE
  std::vector<std::string> assignments;    // --set=a.b=c, in their order
  bool print_config = false;               // --print_config: show the config that results, and end
  bool version = false;                    // --version
  bool help = false;                       // --help, -h
};

// `args` without the program's name; values behind = or as the next word. kInvalidArgument naming
// the word that is not understood.
absl::StatusOr<ServiceFlags> ParseServiceFlags(std::span<const std::string_view> args);

// What --help says.
std::string ServiceUsage(std::string_view program);

}  // namespace tessera
