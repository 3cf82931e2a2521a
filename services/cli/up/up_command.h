#pragma once

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::cli {

// tessera up: a whole cluster on this box until SIGINT or SIGTERM.
int RunUp(std::span<const std::string_view> args, const Streams& streams);

}  // namespace tessera::cli
