#pragma once

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::cli {

// `tessera key --name=NAME [--keys_file=FILE] [limits]`: makes an API key of 256 random bits.
// The key itself stands on the first line of the output and nowhere else. With --keys_file its hash
// is added to that file, which is made if there is none and replaced as a whole (a gateway reads it
// again by itself); without, the entry for the file follows on the second line. Returns the exit
// code.
int RunKey(std::span<const std::string_view> args, const Streams& streams);

}  // namespace tessera::cli
