#pragma once

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::trainer {

// tessera-train bench --config=FILE [--steps=N --threads=N]: prints how many tokens a second the
// run that the file describes trains on here, and how much of what the CPU's arithmetic units could
// do that is. Nothing is written.
int RunBench(std::span<const std::string_view> args, const cli::Streams& streams);

}  // namespace tessera::trainer
