#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/gateway/http/http_types.h"

namespace tessera::gateway {

// How long a request may take, queue and answer, as its headers say it in seconds ("2.5"):
//   x-request-timeout          ours; kInvalidArgument if it is no number above 0
//   x-stainless-timeout,       what OpenAI's and Anthropic's libraries send besides: how long they
//   x-stainless-read-timeout   wait for the reply, which of a stream is only the first byte; so
//   they
//                              count only without `is_stream`, and are ignored if unreadable
// The smallest counts; nothing if there is none.
absl::StatusOr<std::optional<absl::Duration>> TimeoutOf(const HttpRequest& request, bool is_stream);

}  // namespace tessera::gateway
