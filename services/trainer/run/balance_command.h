#pragma once

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::trainer {

// tessera-train balance --model=DIR [--config=FILE --tokens=N --seed=N --new_words --threads=N]:
// prints how evenly the experts of a trained model are loaded by mixed documents that it was not
// trained on.
int RunBalance(std::span<const std::string_view> args, const cli::Streams& streams);

}  // namespace tessera::trainer
