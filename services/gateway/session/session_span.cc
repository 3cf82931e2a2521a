#include "services/gateway/session/session_span.h"

#include "absl/strings/str_cat.h"

namespace tessera::gateway {

SpanRecord SpanOf(const SessionSpan& session, const PreparedRequest& prepared, const Usage& usage) {
  const GenerationRequest& request = prepared.request;
  const char* operation = request.dialect == ApiDialect::kCompletion ? "text_completion" : "chat";
  SpanRecord span;
  span.context = session.scope.context;
  span.parent = session.scope.parent;
  span.name = absl::StrCat(operation, " ", request.model);
  span.start = session.start;
  span.end = session.end;
  span.error_type = std::string(session.error_type);
  if (session.first_token) span.events.push_back({"first_token", *session.first_token});
  auto& attributes = span.attributes;
  attributes = {{"gen_ai.operation.name", std::string(operation)},
                {"gen_ai.provider.name", std::string("tessera")},
                {"gen_ai.request.model", request.model},
                {"gen_ai.response.model", request.model},
                {"gen_ai.request.temperature", double{prepared.sampling.temperature}},
                {"gen_ai.request.top_p", double{prepared.sampling.top_p}},
                {"gen_ai.usage.input_tokens", int64_t{usage.prompt_tokens}},
                {"gen_ai.usage.output_tokens", int64_t{usage.completion_tokens}},
                {"tessera.request_id", session.request_id},
                {"tessera.cached_tokens", int64_t{usage.cached_tokens}}};
  if (request.tokens_max) {
    attributes.emplace_back("gen_ai.request.max_tokens", int64_t{*request.tokens_max});
  }
  if (request.n > 1) attributes.emplace_back("gen_ai.request.choice.count", int64_t{request.n});
  if (!session.finish_reasons.empty()) {
    attributes.emplace_back("gen_ai.response.finish_reasons", session.finish_reasons);
  }
  return span;
}

std::string_view ErrorTypeOf(AbortCause cause) {
  switch (cause) {
    case AbortCause::kClient:
      return "client";
    case AbortCause::kDeadline:
      return "deadline";
    case AbortCause::kRouter:
      return "router";
    case AbortCause::kRefused:
      return "refused";
    case AbortCause::kInternal:
      break;
  }
  return "internal";
}

}  // namespace tessera::gateway
