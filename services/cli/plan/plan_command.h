#pragma once

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::cli {

// `tessera plan`: how many routers and shards a load needs (--model), what a cluster would do under
// a load (--simulate), what balancing would do for a running one (--from).
int RunPlan(std::span<const std::string_view> args, const Streams& streams);

}  // namespace tessera::cli
