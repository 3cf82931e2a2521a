#pragma once

// `tessera-train eval`: what a served model can do, asked through the gateway's REST API.

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::trainer {

// tessera-train eval [--address=HOST:PORT] [--skill=S] [--items=N] [--seed=N] [--json]
// [--wrong=N]: prints a table, the share of right answers by skill. Returns the exit code.
int RunEval(std::span<const std::string_view> args, const cli::Streams& streams);

}  // namespace tessera::trainer
