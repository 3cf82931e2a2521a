#pragma once

#include <span>
#include <string_view>

#include "services/cli/command_frame.h"

namespace tessera::cli {

// `tessera chat [--address=host:port]`: talks to a gateway; `args` are the words behind "chat". At
// a terminal answers are streamed, reasoning is dimmed and /load, /reset, /quit are commands; when
// standard input is no terminal each line is a prompt and each answer ends with a line end. Returns
// the exit code.
int RunChat(std::span<const std::string_view> args, const Streams& streams);

}  // namespace tessera::cli
