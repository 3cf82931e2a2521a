#pragma once

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::cli {

// `tessera top [--address=host:port] [--once]`: shows shards, heat of the experts, speed and
// balance of a running cluster, again every second until Ctrl-C; reads nothing but its gateway.
// `args` are the words behind "top". Returns the exit code.
int RunTop(std::span<const std::string_view> args, const Streams& streams);

}  // namespace tessera::cli
