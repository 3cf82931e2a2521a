#pragma once

#include <span>
#include <string_view>

#include "services/cli/command.h"

namespace tessera::cli {

// tessera inspect DIR: architecture, parameters, bytes by role and dtype, and what fits on this
// machine.
int RunInspect(std::span<const std::string_view> args, const Streams& streams);

}  // namespace tessera::cli
