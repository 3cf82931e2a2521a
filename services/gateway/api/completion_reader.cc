#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/gateway/api/api_error.h"
#include "services/gateway/api/common_fields.h"
#include "services/gateway/api/request_reader.h"

namespace tessera::gateway {
namespace {

constexpr uint32_t kCompletionTokensDefault = 16;  // OpenAI's
constexpr std::string_view kPromptForms =
    "a string, an array of strings, an array of token ids or an array of such arrays";

// One of several prompts: a string, or an array of ids.
void AddPrompt(const JsonValue& value, FieldReader& fields,
               std::vector<CompletionPrompt>& prompts) {
  if (value.is_string()) {
    prompts.emplace_back(std::string(*value.AsString()));
  } else if (value.is_array() && value.size() > 0) {
    prompts.emplace_back(ReadTokenIds(value, SIZE_MAX, fields));
  } else {
    fields.Refuse(value, "a string or an array of token ids that is not empty");
  }
}

std::vector<CompletionPrompt> ReadPrompts(FieldReader& fields, const RequestLimits& limits) {
  std::vector<CompletionPrompt> prompts;
  const std::optional<JsonValue> value = fields.Find("prompt");
  if (!value.has_value()) {
    fields.RefuseMissing("prompt", kPromptForms);
  } else if (value->is_string()) {
    AddPrompt(*value, fields, prompts);
  } else if (!value->is_array() || value->size() == 0) {
    fields.Refuse(*value, kPromptForms);
  } else if (value->at(0).is_number()) {
    AddPrompt(*value, fields, prompts);
  } else if (value->size() > limits.sequences_max) {
    fields.Refuse(*value, absl::StrCat("at most ", limits.sequences_max, " prompts"));
  } else {
    for (const JsonValue element : value->elements()) {
      if (fields.ok()) AddPrompt(element, fields, prompts);
    }
  }
  return prompts;
}

void RefuseOldOptions(FieldReader& fields, const GenerationRequest& request) {
  if (const std::optional<std::string> suffix = fields.String("suffix");
      suffix.has_value() && !suffix->empty()) {
    fields.RefuseUnsupported("suffix", "text is continued, not filled in");
  }
  const std::optional<uint32_t> best_of = fields.Count("best_of", 1, kTokensMax);
  if (best_of.has_value() && *best_of != request.n)
    fields.RefuseUnsupported("best_of", "it must equal n: every choice is returned");
  const std::optional<JsonValue> format = fields.Object("response_format");
  if (!format.has_value()) return;
  FieldReader inner(*format, fields.status());
  if (const std::string type = inner.RequiredString("type"); inner.ok() && type != "text")
    fields.RefuseUnsupported("response_format", "output cannot be held to JSON yet; use text");
}

}  // namespace

absl::StatusOr<GenerationRequest> ReadCompletionRequest(std::string_view body,
                                                        const RequestLimits& limits) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, ParseBody(body, limits));
  absl::Status status;
  FieldReader fields(document.root(), status);
  GenerationRequest request;
  request.dialect = ApiDialect::kCompletion;
  ReadOpenAiFields(fields, limits, request);
  request.prompt = ReadPrompts(fields, limits);
  request.tokens_max = fields.Count("max_tokens", 0, kTokensMax).value_or(kCompletionTokensDefault);
  request.echo = fields.Bool("echo").value_or(false);
  request.logprobs = fields.Count("logprobs", 0, limits.logprobs_max);
  ReadSampling(fields, /*temperature_max=*/2, request.sampling);
  ReadExtras(fields, limits, request);
  RefuseOldOptions(fields, request);
  CheckTogether(fields, limits, request);
  if (!status.ok()) return status;
  return request;
}

absl::StatusOr<DetokenizeRequest> ReadDetokenizeRequest(std::string_view body,
                                                        const RequestLimits& limits) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, ParseBody(body, limits));
  absl::Status status;
  FieldReader fields(document.root(), status);
  DetokenizeRequest request;
  request.model = fields.String("model").value_or("");
  const std::optional<JsonValue> tokens = fields.Array("tokens");
  if (tokens.has_value()) {
    request.tokens = ReadTokenIds(*tokens, SIZE_MAX, fields);
  } else {
    fields.RefuseMissing("tokens", "an array of token ids");
  }
  if (!status.ok()) return status;
  return request;
}

absl::StatusOr<GenerationRequest> ReadGenerationRequest(ApiDialect dialect, std::string_view body,
                                                        const RequestLimits& limits) {
  switch (dialect) {
    case ApiDialect::kChat:
      return ReadChatRequest(body, limits);
    case ApiDialect::kCompletion:
      return ReadCompletionRequest(body, limits);
    case ApiDialect::kMessages:
      return ReadMessagesRequest(body, limits);
    case ApiDialect::kResponses:
      return ReadResponsesRequest(body, limits);
  }
  return absl::InternalError("a dialect that does not exist");
}

}  // namespace tessera::gateway
