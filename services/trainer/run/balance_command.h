#pragma once

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::trainer {

// tessera-train balance --model=DIR [--tokens=N --seed=N --threads=N]: prints how evenly the
// experts of a trained model are loaded by documents whose words, frames and topics were never
// trained on.
int RunBalance(std::span<const std::string_view> args, const cli::Streams& streams);

}  // namespace tessera::trainer
