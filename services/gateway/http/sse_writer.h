#pragma once

// Streams of server-sent events as OpenAI's and Anthropic's clients read them; what is in them is
// written by the StreamWriters of api/reply.h.

#include "services/gateway/http/http_types.h"

namespace tessera::gateway {

// The head of a stream of events: nobody on the way may keep or collect them.
HttpResponse SseHead();

}  // namespace tessera::gateway
