#pragma once

// `tessera-train corpus`: shows what a model is trained on.

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::trainer {

// tessera-train corpus [--skill=S] [--seed=N] [--count=N]: prints conversations. With
// --tokenizer=FILE: tokens and bytes by skill instead. Returns the exit code.
int RunCorpus(std::span<const std::string_view> args, const cli::Streams& streams);

}  // namespace tessera::trainer
