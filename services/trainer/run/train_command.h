#pragma once

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::trainer {

// tessera-train train --config=FILE --out=DIR [--resume --threads=N --steps=N --balance=METHOD]:
// trains the model that the file describes and writes it to DIR, with state.safetensors to go on
// from and steps.csv. SIGINT or SIGTERM: it writes a checkpoint after the step under way and ends
// with 0; a second one ends it at once.
int RunTrain(std::span<const std::string_view> args, const cli::Streams& streams);

}  // namespace tessera::trainer
