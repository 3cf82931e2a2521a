#pragma once

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::cli {

// `tessera scale --shards=N`: more or fewer expert shards for the `tessera up` that runs in a state
// folder. 0; 1 if it could not be done, with the reason; 2 for wrong flags.
int RunScale(std::span<const std::string_view> args, const Streams& streams);

}  // namespace tessera::cli
