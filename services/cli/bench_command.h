#pragma once

#include <span>
#include <string_view>

#include "services/cli/command.h"

namespace tessera::cli {

// tessera bench --model=DIR: speed of prefill and decode on random tokens, one line a case.
int RunBench(std::span<const std::string_view> args, const Streams& streams);

}  // namespace tessera::cli
