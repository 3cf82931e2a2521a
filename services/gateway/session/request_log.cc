#include "services/gateway/session/request_log.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_join.h"
#include "common/base/log_event.h"

namespace tessera::gateway {

void LogEndedRequest(const EndedRequest& ended, const PreparedRequest& prepared,
                     const Usage& usage) {
  std::vector<LogField> fields = {{"request_id", ended.request_id}};
  const auto add = [&fields](const char* name, auto value) {
    fields.push_back({name, std::move(value)});
  };
  const auto seconds = [&add](const char* name, absl::Duration duration) {
    add(name, absl::ToDoubleSeconds(duration));
  };
  if (!ended.key.empty()) add("key", std::string(ended.key));
  if (ended.trace != kNoTrace) add("trace_id", HexOf(ended.trace));
  add("model", prepared.request.model);
  add("end", std::string(ended.error_type.empty() ? "ok" : ended.error_type));
  if (!ended.finish_reasons.empty()) {
    add("finish_reasons", absl::StrJoin(ended.finish_reasons, ","));
  }
  add("prompt_tokens", int64_t{usage.prompt_tokens});
  add("cached_tokens", int64_t{usage.cached_tokens});
  add("completion_tokens", int64_t{usage.completion_tokens});
  add("reasoning_tokens", int64_t{usage.reasoning_tokens});
  seconds("queue_seconds", usage.timings.queue);
  seconds("prefill_seconds", usage.timings.prefill);
  seconds("first_token_seconds", usage.timings.first_token);
  seconds("decode_seconds", usage.timings.decode);
  seconds("total_seconds", ended.total);
  LogEvent(LogLevel::INFO, "request", fields);
}

}  // namespace tessera::gateway
