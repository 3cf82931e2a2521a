#include <array>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/gateway/api/api_error.h"
#include "services/gateway/api/common_fields.h"
#include "services/gateway/api/request_reader.h"

namespace tessera::gateway {
namespace {

// One message's blocks on their way to template messages: results of tools become messages of their
// own, all text of the rest is joined.
struct Blocks {
  std::string text;
  std::string reasoning;
  ValueList tool_calls;
  ValueList tool_results;  // messages of the role tool
};

// A string, or an array of blocks of text; absent, it is empty.
std::string ReadText(FieldReader& fields, std::string_view key) {
  constexpr std::array<std::string_view, 1> kTypes = {"text"};
  return ReadTextParts(fields, key, kTypes);
}

void ReadToolUse(FieldReader& block, Blocks& blocks) {
  const std::string id = block.RequiredString("id");
  const std::string name = block.RequiredString("name");
  const std::optional<JsonValue> input = block.Object("input");
  if (!input.has_value()) {
    block.RefuseMissing("input", "an object");
    return;
  }
  blocks.tool_calls.push_back(MakeToolCall(id, name, TemplateValue::FromJson(*input)));
}

void ReadBlock(const JsonValue& element, bool is_assistant, absl::Status& status, Blocks& blocks) {
  FieldReader block(element, status);
  const std::string type = block.RequiredString("type");
  if (!block.ok()) return;
  if (type == "text") {
    const std::optional<std::string> text = block.String("text");
    if (!text.has_value()) block.RefuseMissing("text", "a string");
    blocks.text += text.value_or("");
  } else if (type == "thinking" && is_assistant) {
    blocks.reasoning += block.String("thinking").value_or("");
  } else if (type == "redacted_thinking" && is_assistant) {
    // Of another server's model: nothing here can read it, and it is not shown either.
  } else if (type == "tool_use" && is_assistant) {
    ReadToolUse(block, blocks);
  } else if (type == "tool_result" && !is_assistant) {
    ValueMap message = MakeMessage("tool", ReadText(block, "content"));
    message.Set("tool_call_id", StringValue(block.RequiredString("tool_use_id")));
    block.Bool("is_error");
    blocks.tool_results.push_back(TemplateValue::Dict(std::move(message)));
  } else {
    block.RefuseUnsupported("type", "no block that this model reads in this place");
  }
}

void ReadMessage(const JsonValue& value, absl::Status& status, ValueList& messages) {
  FieldReader fields(value, status);
  const std::string role = fields.RequiredString("role");
  if (!fields.ok()) return;
  if (role != "user" && role != "assistant") {
    fields.Refuse(*fields.Find("role"), "user or assistant; the system prompt stands in 'system'");
    return;
  }
  Blocks blocks;
  const std::optional<JsonValue> content = fields.Find("content");
  if (!content.has_value()) {
    fields.RefuseMissing("content", "a string or an array of blocks");
    return;
  }
  if (content->is_array()) {
    for (const JsonValue block : content->elements()) {
      if (fields.ok()) ReadBlock(block, role == "assistant", status, blocks);
    }
  } else {
    blocks.text = ReadText(fields, "content");
  }
  const bool only_results = !blocks.tool_results.empty() && blocks.text.empty();
  for (TemplateValue& result : blocks.tool_results) messages.push_back(std::move(result));
  if (only_results) return;
  // A user's message has neither reasoning nor calls.
  messages.push_back(
      TurnMessage(role, blocks.text, blocks.reasoning, std::move(blocks.tool_calls)));
}

// The conversation; one that ends with words of the assistant is to be gone on with.
void ReadConversation(FieldReader& fields, const RequestLimits& limits, ChatPrompt& prompt) {
  ValueList messages;
  if (const std::string system = ReadText(fields, "system"); !system.empty())
    messages.push_back(TemplateValue::Dict(MakeMessage("system", system)));
  const std::optional<JsonValue> array = fields.RequiredArray("messages");
  if (!array.has_value()) return;
  if (array->size() > limits.messages_max) {
    fields.Refuse(*array, absl::StrCat("at most ", limits.messages_max, " messages"));
    return;
  }
  for (const JsonValue message : array->elements()) {
    if (fields.ok()) ReadMessage(message, fields.status(), messages);
  }
  if (!fields.ok()) return;
  const ValueMap& last = messages.back().AsDict();
  prompt.continue_final_message =
      last.Find("role")->AsString() == "assistant" && last.Find("tool_calls") == nullptr;
  prompt.add_generation_prompt = !prompt.continue_final_message;
  prompt.messages = TemplateValue::List(std::move(messages));
}

void ReadTools(FieldReader& fields, const RequestLimits& limits, GenerationRequest& request,
               ValueList& shown) {
  ReadEachTool(fields, limits, [&](FieldReader& tool) {
    if (tool.String("type").value_or("custom") != "custom")
      tool.RefuseUnsupported("type", "this server runs no tools of its own");
    if (!tool.Object("input_schema").has_value()) tool.RefuseMissing("input_schema", "an object");
    ReadFunction(tool, "input_schema", request, shown);
  });
}

ToolChoice ReadToolChoice(FieldReader& fields, GenerationRequest& request) {
  const std::optional<JsonValue> object = fields.Object("tool_choice");
  if (!object.has_value()) return ToolChoice::kAuto;
  FieldReader choice(*object, fields.status());
  const std::string type = choice.RequiredString("type");
  request.parallel_tool_calls = !choice.Bool("disable_parallel_tool_use").value_or(false);
  if (type == "none") return ToolChoice::kNone;
  if (type == "any" || type == "tool") {
    fields.RefuseUnsupported("tool_choice", "a call cannot be forced yet; use auto or none");
  } else if (choice.ok() && type != "auto") {
    choice.Refuse(*choice.Find("type"), "auto, any, tool or none");
  }
  return ToolChoice::kAuto;
}

void ReadThinking(FieldReader& fields, ChatPrompt& prompt) {
  if (const std::optional<JsonValue> object = fields.Object("thinking")) {
    FieldReader thinking(*object, fields.status());
    const std::string type = thinking.RequiredString("type");
    if (thinking.ok() && type != "enabled" && type != "disabled" && type != "adaptive") {
      thinking.Refuse(*thinking.Find("type"), "enabled, disabled or adaptive");
    } else if (type != "adaptive") {
      prompt.template_variables.Set("enable_thinking", TemplateValue::Bool(type == "enabled"));
    }
    thinking.Count("budget_tokens", 1, kTokensMax);
  }
  const std::optional<JsonValue> object = fields.Object("output_config");
  if (!object.has_value()) return;
  FieldReader output(*object, fields.status());
  if (output.Find("format").has_value())
    output.RefuseUnsupported("format", "output cannot be held to a schema yet");
  ApplyReasoningEffort(output, "effort", prompt);
}

}  // namespace

absl::StatusOr<GenerationRequest> ReadMessagesRequest(std::string_view body,
                                                      const RequestLimits& limits,
                                                      bool count_only) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, ParseBody(body, limits));
  absl::Status status;
  FieldReader fields(document.root(), status);
  GenerationRequest request;
  request.dialect = ApiDialect::kMessages;
  request.model = fields.String("model").value_or("");
  request.tokens_max = fields.Count("max_tokens", 1, kTokensMax);
  if (!count_only && !request.tokens_max.has_value())
    fields.RefuseMissing("max_tokens", "a whole number from 1");
  ChatPrompt prompt;
  ReadConversation(fields, limits, prompt);
  ReadThinking(fields, prompt);
  request.prompt = std::move(prompt);
  request.stop = ReadStops(fields, "stop_sequences", limits);
  request.stream = fields.Bool("stream").value_or(false);
  ReadSampling(fields, /*temperature_max=*/1, request.sampling);
  ReadExtras(fields, limits, request);
  if (const std::optional<JsonValue> metadata = fields.Object("metadata"))
    request.user = FieldReader(*metadata, status).String("user_id").value_or("");
  ValueList shown;
  ReadTools(fields, limits, request, shown);
  SetTools(std::move(shown), ReadToolChoice(fields, request), request);
  CheckTogether(fields, limits, request);
  if (!status.ok()) return status;
  return request;
}

}  // namespace tessera::gateway
