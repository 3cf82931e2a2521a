#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/gateway/api/api_error.h"
#include "services/gateway/api/common_fields.h"
#include "services/gateway/api/request_reader.h"
#include "services/gateway/template/chat_template.h"

namespace tessera::gateway {
namespace {

void CheckPart(const JsonValue& part, absl::Status& status) {
  FieldReader fields(part, status);
  const std::string type = fields.RequiredString("type");
  if (!fields.ok()) return;
  if (type != "text") {
    fields.RefuseUnsupported("type", "this model reads text only");
  } else if (!fields.String("text").has_value()) {
    fields.RefuseMissing("text", "a string");
  }
}

void CheckContent(FieldReader& message, bool may_be_absent) {
  const std::optional<JsonValue> content = message.Find("content");
  if (!content.has_value()) {
    if (!may_be_absent) message.RefuseMissing("content", "a string or an array of parts");
    return;
  }
  if (content->is_string()) return;
  if (!content->is_array()) {
    message.Refuse(*content, "a string or an array of parts");
    return;
  }
  for (const JsonValue part : content->elements()) {
    if (!message.ok()) return;
    CheckPart(part, message.status());
  }
}

void CheckToolCall(const JsonValue& call, absl::Status& status) {
  FieldReader fields(call, status);
  fields.RequiredString("id");
  const std::optional<std::string> type = fields.String("type");
  if (type.has_value() && *type != "function") fields.Refuse(*fields.Find("type"), "'function'");
  const std::optional<JsonValue> function = fields.Object("function");
  if (!function.has_value()) {
    fields.RefuseMissing("function", "an object");
    return;
  }
  FieldReader inner(*function, status);
  inner.RequiredString("name");
  const std::optional<JsonValue> arguments = inner.Find("arguments");
  if (!arguments.has_value()) {
    inner.RefuseMissing("arguments", "a string of JSON");
  } else if (!arguments->is_object()) {
    ReadArguments(*arguments, inner);
  }
}

void CheckMessage(const JsonValue& value, absl::Status& status) {
  FieldReader message(value, status);
  const std::string role = message.RequiredString("role");
  constexpr std::array<std::string_view, 6> kRoles = {"system",    "developer", "user",
                                                      "assistant", "tool",      "function"};
  if (message.ok() && std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end()) {
    message.Refuse(*message.Find("role"), "system, developer, user, assistant, tool or function");
    return;
  }
  CheckContent(message, /*may_be_absent=*/role == "assistant");
  message.String("name");
  message.String("reasoning");
  message.String("reasoning_content");
  if (role == "tool") message.RequiredString("tool_call_id");
  const std::optional<JsonValue> calls = message.Array("tool_calls");
  if (!calls.has_value()) return;
  if (role != "assistant" && calls->size() > 0) {
    message.Refuse(*calls, "calls of tools in messages of the assistant only");
    return;
  }
  for (const JsonValue call : calls->elements()) {
    if (!message.ok()) return;
    CheckToolCall(call, status);
  }
}

void ReadTools(FieldReader& fields, const RequestLimits& limits, GenerationRequest& request,
               ValueList& shown) {
  for (const std::string_view key : {"functions", "function_call"}) {
    if (fields.Find(key).has_value())
      fields.RefuseUnsupported(key, "it is deprecated; use tools and tool_choice");
  }
  ReadEachTool(fields, limits, [&](FieldReader& tool) {
    const std::string type = tool.RequiredString("type");
    if (tool.ok() && type != "function") tool.RefuseUnsupported("type", "tools are functions here");
    const std::optional<JsonValue> function = tool.Object("function");
    if (!function.has_value()) {
      tool.RefuseMissing("function", "an object");
      return;
    }
    FieldReader inner(*function, fields.status());
    ReadFunction(inner, "parameters", request, shown);
  });
}

void CheckResponseFormat(FieldReader& fields) {
  const std::optional<JsonValue> format = fields.Object("response_format");
  if (!format.has_value()) return;
  FieldReader inner(*format, fields.status());
  const std::string type = inner.RequiredString("type");
  if (!fields.ok() || type == "text") return;
  if (type == "json_schema" && !inner.Object("json_schema").has_value()) {
    inner.RefuseMissing("json_schema", "an object");
  } else if (type == "json_schema" || type == "json_object") {
    fields.RefuseUnsupported("response_format", "output cannot be held to JSON yet; use text");
  } else {
    inner.Refuse(*inner.Find("type"), "text, json_object or json_schema");
  }
}

void RefuseAudio(FieldReader& fields) {
  const std::optional<JsonValue> modalities = fields.Array("modalities");
  if (!modalities.has_value()) return;
  for (const JsonValue element : modalities->elements()) {
    const absl::StatusOr<std::string_view> word = element.AsString();
    if (!word.ok() || *word != "text")
      fields.RefuseUnsupported("modalities", "this model writes text only");
  }
}

void ReadLogprobs(FieldReader& fields, const RequestLimits& limits, GenerationRequest& request) {
  const bool wanted = fields.Bool("logprobs").value_or(false);
  const std::optional<uint32_t> top = fields.Count("top_logprobs", 0, limits.logprobs_max);
  if (wanted) request.logprobs = top.value_or(0);
  if (top.has_value() && *top > 0 && !wanted)
    fields.Fail(BadRequest("top_logprobs", "top_logprobs is for logprobs: true only"));
}

void ReadMessages(FieldReader& fields, const RequestLimits& limits, ChatPrompt& prompt) {
  const std::optional<JsonValue> messages = fields.RequiredArray("messages");
  if (!messages.has_value()) return;
  if (messages->size() > limits.messages_max) {
    fields.Refuse(*messages, absl::StrCat("at most ", limits.messages_max, " messages"));
    return;
  }
  for (const JsonValue message : messages->elements()) {
    CheckMessage(message, fields.status());
    if (!fields.ok()) return;
  }
  absl::StatusOr<TemplateValue> converted = TemplateMessages(*messages);
  if (!converted.ok()) {
    fields.Fail(WithParam(converted.status(), "messages"));
    return;
  }
  prompt.messages = *std::move(converted);
}

}  // namespace

absl::StatusOr<GenerationRequest> ReadChatRequest(std::string_view body,
                                                  const RequestLimits& limits) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, ParseBody(body, limits));
  absl::Status status;
  FieldReader fields(document.root(), status);
  GenerationRequest request;
  request.dialect = ApiDialect::kChat;
  ChatPrompt prompt;
  ReadOpenAiFields(fields, limits, request);
  ReadMessages(fields, limits, prompt);
  ReadTemplateFields(fields, prompt);
  request.prompt = std::move(prompt);
  request.tokens_max = fields.Count("max_tokens", 1, kTokensMax);
  if (const auto tokens = fields.Count("max_completion_tokens", 1, kTokensMax))
    request.tokens_max = tokens;
  ReadSampling(fields, /*temperature_max=*/2, request.sampling);
  ReadExtras(fields, limits, request);
  ReadLogprobs(fields, limits, request);
  CheckResponseFormat(fields);
  RefuseAudio(fields);
  ValueList shown;
  ReadTools(fields, limits, request, shown);
  SetTools(std::move(shown), ReadToolChoice(fields), request);
  request.parallel_tool_calls = fields.Bool("parallel_tool_calls").value_or(true);
  CheckTogether(fields, limits, request);
  if (!status.ok()) return status;
  return request;
}

absl::StatusOr<TokenizeRequest> ReadTokenizeRequest(std::string_view body,
                                                    const RequestLimits& limits) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, ParseBody(body, limits));
  absl::Status status;
  FieldReader fields(document.root(), status);
  TokenizeRequest request;
  request.model = fields.String("model").value_or("");
  request.return_token_strs = fields.Bool("return_token_strs").value_or(false);
  const std::optional<bool> add_special = fields.Bool("add_special_tokens");
  if (fields.Find("messages").has_value()) {
    GenerationRequest chat;
    ChatPrompt prompt;
    ReadMessages(fields, limits, prompt);
    ReadTemplateFields(fields, prompt);
    chat.prompt = std::move(prompt);
    ValueList shown;
    ReadTools(fields, limits, chat, shown);
    SetTools(std::move(shown), ToolChoice::kAuto, chat);
    request.prompt = std::move(std::get<ChatPrompt>(chat.prompt));
    request.add_special_tokens = add_special.value_or(false);
  } else if (std::optional<std::string> prompt = fields.String("prompt")) {
    request.prompt = *std::move(prompt);
    request.add_special_tokens = add_special.value_or(true);
  } else {
    fields.RefuseMissing("prompt", "a string, or messages");
  }
  if (!status.ok()) return status;
  return request;
}

}  // namespace tessera::gateway
