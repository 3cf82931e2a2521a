#pragma once

// `tessera-train tokenizer`: learns the tokenizer of a run from its corpus.

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::trainer {

// tessera-train tokenizer --config=FILE --out=DIR: writes DIR/tokenizer.json. The corpus has the
// run's seed. Returns the exit code.
int RunTokenizer(std::span<const std::string_view> args, const cli::Streams& streams);

}  // namespace tessera::trainer
