#pragma once

#include <span>
#include <string_view>

#include "services/cli/command.h"

namespace tessera::cli {

// tessera logits --model=DIR --ids=1,2,3 --out=FILE: the logits of every position, as raw
// little-endian float32 [ids, vocab]. FILE is as it was if anything fails.
int RunLogits(std::span<const std::string_view> args, const Streams& streams);

}  // namespace tessera::cli
