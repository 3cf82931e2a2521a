#pragma once

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::trainer {

// tessera-train train --config=FILE --out=DIR [--resume --threads=N --steps=N --balance=METHOD]:
// trains the model that the file describes and writes it to DIR, with state.safetensors to go on
// from and steps.csv.
int RunTrain(std::span<const std::string_view> args, const cli::Streams& streams);

}  // namespace tessera::trainer
