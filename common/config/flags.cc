#include "common/config/flags.h"

#include "absl/strings/str_cat.h"

namespace tessera {

absl::StatusOr<ServiceFlags> ParseServiceFlags(std::span<const std::string_view> args) {
  ServiceFlags flags;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string arg(args[i]);
    const size_t equals = arg.find('=');
    const std::string name = arg.substr(0, equals);
    if (name == "--config" || name == "--set") {
      if (equals == std::string::npos && i + 1 == args.size()) {
        return absl::InvalidArgumentError(absl::StrCat(name, " needs a value: ", name, "=..."));
      }
      const std::string value =
          equals == std::string::npos ? std::string(args[++i]) : arg.substr(equals + 1);
      if (name == "--set") {
        flags.assignments.push_back(value);
      } else if (flags.config_file.has_value()) {
        return absl::InvalidArgumentError("--config is given twice; one file holds the config");
      } else {
        flags.config_file = value;
      }
    } else if (arg == "--print_config") {
      flags.print_config = true;
    } else if (arg == "--version") {
      flags.version = true;
    } else if (arg == "--help" || arg == "-h") {
      flags.help = true;
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("'", arg,
                       "' is not understood; there are --config=FILE, "
                       "--set=group.field=value, --print_config, --version and --help"));
    }
  }
  return flags;
}

std::string ServiceUsage(std::string_view program) {
  return absl::StrCat(
      "usage: ", std::string(program),
      " [--config=FILE] [--set=group.field=value]... [--print_config]\n"
      "  --config=FILE            the config, as JSON\n"
      "  --set=group.field=value  one field of it; may be repeated; wins over the file\n"
      "  --print_config           print the config that results, with defaults, and end\n"
      "  --version, --help\n");
}

}  // namespace tessera
