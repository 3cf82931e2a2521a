#pragma once

// What a collector of traces is told of a request, in the words of OpenTelemetry's conventions for
// generative AI: numbers and names, never a word of the prompt or the reply.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "common/tracing/span.h"
#include "common/tracing/tracer.h"
#include "services/gateway/api/output.h"
#include "services/gateway/session/gateway_metrics.h"
#include "services/gateway/session/prepared_request.h"

namespace tessera::gateway {

struct SessionSpan {
  const Tracer::Scope& scope;
  const std::string& request_id;
  std::string_view error_type;  // "": it went well
  absl::Time start;
  absl::Time end;
  std::optional<absl::Time> first_token;
  std::vector<std::string> finish_reasons;  // of the choices that came to their end
};

// "chat trinity-nano", with gen_ai.* attributes.
SpanRecord SpanOf(const SessionSpan& session, const PreparedRequest& prepared, const Usage& usage);

// "client", "deadline", ...
std::string_view ErrorTypeOf(AbortCause cause);

}  // namespace tessera::gateway
