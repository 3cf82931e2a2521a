#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/gateway/api/api_error.h"
#include "services/gateway/api/common_fields.h"
#include "services/gateway/api/request_reader.h"

namespace tessera::gateway {
namespace {

// Items of `input` to messages: calls and reasoning join the assistant's message that they belong
// to.
class ConversationBuilder {
 public:
  void Add(std::string_view role, std::string_view content) {
    if (role != "assistant") {
      Close();
      messages_.push_back(TemplateValue::Dict(MakeMessage(role, content)));
      return;
    }
    if (!calls_.empty() || !content_.empty()) Close();
    open_ = true;
    content_ += content;
  }
  void AddReasoning(std::string_view text) {
    if (!calls_.empty() || !content_.empty()) Close();
    open_ = true;
    reasoning_ += text;
  }
  void AddCall(std::string_view id, std::string_view name, TemplateValue arguments) {
    open_ = true;
    calls_.push_back(MakeToolCall(id, name, std::move(arguments)));
  }
  void AddResult(std::string_view id, std::string_view output) {
    Close();
    ValueMap message = MakeMessage("tool", output);
    message.Set("tool_call_id", StringValue(id));
    messages_.push_back(TemplateValue::Dict(std::move(message)));
  }
  ValueList Take() {
    Close();
    return std::move(messages_);
  }

 private:
  void Close() {
    if (!open_) return;
    open_ = false;
    messages_.push_back(TurnMessage("assistant", std::exchange(content_, {}),
                                    std::exchange(reasoning_, {}), std::exchange(calls_, {})));
  }

  ValueList messages_;
  bool open_ = false;  // an assistant's message is being put together
  std::string content_;
  std::string reasoning_;
  ValueList calls_;
};

// A string, or parts with text.
std::string ReadText(FieldReader& fields, std::string_view key) {
  constexpr std::array<std::string_view, 5> kTypes = {"input_text", "output_text", "text",
                                                      "reasoning_text", "summary_text"};
  if (!fields.Find(key).has_value()) fields.RefuseMissing(key, "a string or an array of parts");
  return ReadTextParts(fields, key, kTypes);
}

void ReadMessageItem(FieldReader& item, ConversationBuilder& conversation) {
  std::string role = item.RequiredString("role");
  if (role == "developer") role = "system";
  constexpr std::array<std::string_view, 3> kRoles = {"system", "user", "assistant"};
  if (item.ok() && std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end())
    item.Refuse(*item.Find("role"), "system, developer, user or assistant");
  conversation.Add(role, ReadText(item, "content"));
}

void ReadItem(const JsonValue& element, absl::Status& status, ConversationBuilder& conversation) {
  FieldReader item(element, status);
  const std::string type = item.String("type").value_or("message");
  if (!item.ok()) return;
  if (type == "message") {
    ReadMessageItem(item, conversation);
  } else if (type == "function_call") {
    const std::string id = item.RequiredString("call_id");
    const std::string name = item.RequiredString("name");
    const std::optional<JsonValue> arguments = item.Find("arguments");
    if (arguments.has_value()) {
      conversation.AddCall(id, name, ReadArguments(*arguments, item));
    } else {
      item.RefuseMissing("arguments", "a string of JSON");
    }
  } else if (type == "function_call_output") {
    const std::string id = item.RequiredString("call_id");
    conversation.AddResult(id, ReadText(item, "output"));
  } else if (type == "reasoning") {
    conversation.AddReasoning(item.Find("content").has_value() ? ReadText(item, "content") : "");
  } else {
    item.RefuseUnsupported("type", "nothing is kept or run here; send messages and functions");
  }
}

void ReadInput(FieldReader& fields, const RequestLimits& limits, ChatPrompt& prompt) {
  ConversationBuilder conversation;
  const std::optional<std::string> instructions = fields.String("instructions");
  if (instructions.has_value()) conversation.Add("system", *instructions);
  const std::optional<JsonValue> input = fields.Find("input");
  if (!input.has_value()) {
    fields.RefuseMissing("input", "a string or an array of items");
  } else if (input->is_string()) {
    conversation.Add("user", *input->AsString());
  } else if (!input->is_array() || input->size() == 0 || input->size() > limits.messages_max) {
    fields.Refuse(*input,
                  absl::StrCat("a string or an array of 1 to ", limits.messages_max, " items"));
  } else {
    for (const JsonValue element : input->elements()) {
      if (fields.ok()) ReadItem(element, fields.status(), conversation);
    }
  }
  prompt.messages = TemplateValue::List(conversation.Take());
}

void RefuseState(FieldReader& fields) {
  for (const std::string_view key : {"previous_response_id", "conversation", "prompt"}) {
    if (fields.Find(key).has_value())
      fields.RefuseUnsupported(key, "nothing is kept between requests; send the whole input");
  }
  if (fields.Bool("background").value_or(false))
    fields.RefuseUnsupported("background", "nothing is kept between requests");
  if (fields.String("truncation").value_or("disabled") != "disabled")
    fields.RefuseUnsupported("truncation", "nothing is cut from the input; use disabled");
  if (const std::optional<JsonValue> text = fields.Object("text")) {
    FieldReader inner(*text, fields.status());
    const std::optional<JsonValue> format = inner.Object("format");
    if (!format.has_value()) return;
    if (FieldReader(*format, fields.status()).RequiredString("type") != "text")
      inner.RefuseUnsupported("format", "output cannot be held to JSON yet; use text");
  }
}

void ReadTools(FieldReader& fields, const RequestLimits& limits, GenerationRequest& request,
               ValueList& shown) {
  ReadEachTool(fields, limits, [&](FieldReader& tool) {
    if (tool.RequiredString("type") != "function" && tool.ok())
      tool.RefuseUnsupported("type", "this server runs no tools of its own");
    ReadFunction(tool, "parameters", request, shown);
  });
}

void ReadLogprobs(FieldReader& fields, const RequestLimits& limits, GenerationRequest& request) {
  const std::optional<uint32_t> top = fields.Count("top_logprobs", 0, limits.logprobs_max);
  if (const std::optional<JsonValue> include = fields.Array("include")) {
    for (const JsonValue element : include->elements()) {
      const absl::StatusOr<std::string_view> word = element.AsString();
      if (!word.ok()) fields.Refuse(element, "a string");
      if (word.ok() && *word == "message.output_text.logprobs") request.logprobs = 0;
    }
  }
  if (top.has_value()) request.logprobs = *top;
}

std::string JsonText(const TemplateValue& value, std::string_view fallback) {
  JsonStyle style;
  style.item_separator = ",";
  style.key_separator = ":";
  const absl::StatusOr<std::string> text = ToJson(value, style, size_t{64} << 20);
  return text.ok() ? *text : std::string(fallback);
}

std::string JsonText(const std::optional<JsonValue>& value, std::string_view fallback) {
  if (!value.has_value()) return std::string(fallback);
  return JsonText(TemplateValue::FromJson(*value), fallback);
}

// The tools with the members that a response must have and a request need not.
std::string ToolsText(const std::optional<JsonValue>& tools) {
  ValueList list;
  if (!tools.has_value()) return "[]";
  for (const JsonValue element : tools->elements()) {
    ValueMap tool = TemplateValue::FromJson(element).AsDict();
    if (tool.Find("parameters") == nullptr) tool.Set("parameters", TemplateValue::None());
    tool.Set("strict", TemplateValue::Bool(false));
    list.push_back(TemplateValue::Dict(std::move(tool)));
  }
  return JsonText(TemplateValue::List(std::move(list)), "[]");
}

ResponsesEcho EchoOf(const FieldReader& fields) {
  return {.instructions = JsonText(fields.Find("instructions"), "null"),
          .tools = ToolsText(fields.Find("tools")),
          .tool_choice = JsonText(fields.Find("tool_choice"), "\"auto\""),
          .metadata = JsonText(fields.Find("metadata"), "{}")};
}

}  // namespace

absl::StatusOr<GenerationRequest> ReadResponsesRequest(std::string_view body,
                                                       const RequestLimits& limits) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, ParseBody(body, limits));
  absl::Status status;
  FieldReader fields(document.root(), status);
  GenerationRequest request;
  request.dialect = ApiDialect::kResponses;
  request.model = fields.String("model").value_or("");
  ChatPrompt prompt;
  ReadInput(fields, limits, prompt);
  if (const std::optional<JsonValue> reasoning = fields.Object("reasoning")) {
    FieldReader inner(*reasoning, status);
    ApplyReasoningEffort(inner, "effort", prompt);
  }
  request.prompt = std::move(prompt);
  RefuseState(fields);
  request.tokens_max = fields.Count("max_output_tokens", 1, kTokensMax);
  request.stop = ReadStops(fields, "stop", limits);
  request.stream = fields.Bool("stream").value_or(false);
  request.user = fields.String("user").value_or("");
  ReadSampling(fields, /*temperature_max=*/2, request.sampling);
  ReadExtras(fields, limits, request);
  ReadLogprobs(fields, limits, request);
  fields.Object("metadata");
  ValueList shown;
  ReadTools(fields, limits, request, shown);
  SetTools(std::move(shown), ReadToolChoice(fields), request);
  request.parallel_tool_calls = fields.Bool("parallel_tool_calls").value_or(true);
  CheckTogether(fields, limits, request);
  if (!status.ok()) return status;
  request.echoed = EchoOf(fields);
  return request;
}

}  // namespace tessera::gateway
