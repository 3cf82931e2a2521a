#pragma once

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::cli {

// tessera generate: token ids to token ids, by the router of a running cluster.
int RunGenerate(std::span<const std::string_view> args, const Streams& streams);

}  // namespace tessera::cli
