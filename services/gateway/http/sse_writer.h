#pragma once

// Server-sent events as OpenAI's and Anthropic's clients read them.

#include <string>
#include <string_view>

#include "services/gateway/http/http_types.h"

namespace tessera::gateway {

// The head of a stream of events: nobody on the way may keep or collect them.
HttpResponse SseHead();

// "data: ...\n\n"; with a name "event: NAME\n" before it. `data` is one line (JSON without line
// feeds).
std::string SseEvent(std::string_view data, std::string_view name = {});
void AppendSseEvent(std::string_view data, std::string_view name, std::string* out);

// A line clients ignore, which keeps the way open.
std::string SseComment(std::string_view text);

}  // namespace tessera::gateway
