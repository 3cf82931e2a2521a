#pragma once

// The line of the log that a gateway with `log_requests` writes of each request that a router was
// asked to serve: by whom, how it ended, what it took. Never a word of the prompt or the reply.
//
//   {"time":...,"level":"info","message":"request","request_id":"req-...","key":"team-a",...}
//
// Its request_id is that of the reply's header x-request-id; routers and traces name the same one.

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "common/tracing/trace_context.h"
#include "services/gateway/api/output.h"
#include "services/gateway/session/prepared_request.h"

namespace tessera::gateway {

struct EndedRequest {
  const std::string& request_id;
  std::string_view key;                            // its name; "" without keys
  TraceId trace;                                   // kNoTrace: none
  std::string_view error_type;                     // "": every choice came to its end
  const std::vector<std::string>& finish_reasons;  // of those that did
  absl::Duration total;                            // since its arrival
};

void LogEndedRequest(const EndedRequest& ended, const PreparedRequest& prepared,
                     const Usage& usage);

}  // namespace tessera::gateway
