#include "services/trainer/eval/chat_body.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/json/json.h"
#include "common/json/json_writer.h"

namespace tessera::trainer {
namespace {

const Tool* ToolOf(const Conversation& conversation, const std::string& name) {
  const auto& tools = conversation.tools;
  const auto found =
      std::find_if(tools.begin(), tools.end(), [&](const Tool& tool) { return tool.name == name; });
  return found == tools.end() ? nullptr : &*found;
}

bool IsText(const Tool* tool, const std::string& key) {
  if (tool == nullptr) return true;
  const auto found = std::find_if(tool->parameters.begin(), tool->parameters.end(),
                                  [&](const ToolParameter& p) { return p.name == key; });
  return found == tool->parameters.end() || found->type == "string";
}

// Arguments as JSON; what is no text stands as it is, which is how numbers and truth values look.
std::string ArgumentsJson(const Conversation& conversation, const ToolCall& call) {
  std::string text;
  JsonWriter json(text);
  json.Open('{');
  const Tool* const tool = ToolOf(conversation, call.name);
  for (const auto& [key, value] : call.arguments) {
    json.Key(key);
    IsText(tool, key) ? json.String(value) : json.Raw(value);
  }
  json.Close('}');
  return text;
}

void WriteTool(const Tool& tool, JsonWriter& json) {
  json.Open('{').Key("type").String("function").Key("function").Open('{');
  json.Key("name").String(tool.name).Key("description").String(tool.description);
  json.Key("parameters").Open('{').Key("type").String("object").Key("properties").Open('{');
  for (const ToolParameter& parameter : tool.parameters) {
    json.Key(parameter.name).Open('{').Key("type").String(parameter.type);
    if (!parameter.description.empty()) json.Key("description").String(parameter.description);
    if (!parameter.choices.empty()) {
      json.Key("enum").Open('[');
      for (const std::string& choice : parameter.choices) json.String(choice);
      json.Close(']');
    }
    json.Close('}');
  }
  json.Close('}').Key("required").Open('[');
  for (const ToolParameter& parameter : tool.parameters) {
    if (parameter.required) json.String(parameter.name);
  }
  json.Close(']').Close('}').Close('}').Close('}');
}

std::string_view NameOf(Role role) {
  switch (role) {
    case Role::kSystem:
      return "system";
    case Role::kUser:
      return "user";
    case Role::kAssistant:
      return "assistant";
    default:
      return "tool";
  }
}

void WriteMessage(const Conversation& conversation, size_t index, JsonWriter& json) {
  const Message& message = conversation.messages[index];
  json.Open('{').Key("role").String(NameOf(message.role)).Key("content").String(message.content);
  if (!message.reasoning.empty()) json.Key("reasoning_content").String(message.reasoning);
  if (message.role == Role::kTool) json.Key("tool_call_id").String(absl::StrCat("call_", index));
  if (!message.calls.empty()) {
    json.Key("tool_calls").Open('[');
    for (size_t i = 0; i < message.calls.size(); ++i) {
      const ToolCall& call = message.calls[i];
      json.Open('{').Key("id").String(absl::StrCat("call_", index + 1 + i));
      json.Key("type").String("function").Key("function").Open('{').Key("name").String(call.name);
      json.Key("arguments").String(ArgumentsJson(conversation, call)).Close('}').Close('}');
    }
    json.Close(']');
  }
  json.Close('}');
}

std::string TextOf(const std::optional<JsonValue>& value) {
  return value.has_value() && value->is_string() ? std::string(*value->AsString()) : "";
}

size_t NumberOf(const std::optional<JsonValue>& value) {
  return value.has_value() && value->is_integer()
             ? static_cast<size_t>(value->AsUnsigned().value_or(0))
             : 0;
}

// The members of a JSON object as sorted lines, so that their order does not matter.
std::vector<std::string> MembersOf(const std::string& text) {
  std::vector<std::string> members;
  const auto document = JsonDocument::Parse(text);
  if (!document.ok() || !document->root().is_object()) return {"no object"};
  for (const auto [key, value] : document->root().members()) {
    members.push_back(absl::StrCat(std::string(key), "=", value.Describe(), TextOf(value)));
  }
  std::sort(members.begin(), members.end());
  return members;
}

bool SameCalls(const Conversation& item, const ChatReply& reply) {
  const std::vector<ToolCall>& expected = item.messages.back().calls;
  if (expected.size() != reply.calls.size()) return false;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i].name != reply.calls[i].first ||
        MembersOf(ArgumentsJson(item, expected[i])) != MembersOf(reply.calls[i].second)) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::string ChatBody(const Conversation& conversation, size_t message_count, size_t tokens_max) {
  std::string body;
  JsonWriter json(body);
  json.Open('{').Key("messages").Open('[');
  for (size_t i = 0; i < message_count; ++i) WriteMessage(conversation, i, json);
  json.Close(']');
  if (!conversation.tools.empty()) {
    json.Key("tools").Open('[');
    for (const Tool& tool : conversation.tools) WriteTool(tool, json);
    json.Close(']');
  }
  json.Key("temperature").Integer(0).Key("max_tokens").Integer(static_cast<int64_t>(tokens_max));
  json.Close('}');
  return body;
}

absl::StatusOr<ChatReply> ReadReply(std::string_view body) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::Parse(body));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue choices, document.root().Member("choices"));
  if (choices.size() == 0 || !choices.is_array()) return choices.Unexpected("an array of choices");
  TESSERA_ASSIGN_OR_RETURN(const JsonValue message, choices.at(0).Member("message"));
  ChatReply reply;
  reply.content = TextOf(message.Find("content"));
  reply.reasoning = TextOf(message.Find("reasoning_content"));
  if (const auto calls = message.Find("tool_calls")) {
    for (const JsonValue call : calls->elements()) {
      TESSERA_ASSIGN_OR_RETURN(const JsonValue function, call.Member("function"));
      reply.calls.emplace_back(TextOf(function.Find("name")), TextOf(function.Find("arguments")));
    }
  }
  if (const auto usage = document.root().Find("usage")) {
    reply.prompt_tokens = NumberOf(usage->Find("prompt_tokens"));
    reply.completion_tokens = NumberOf(usage->Find("completion_tokens"));
  }
  return reply;
}

std::string LastNumber(std::string_view text) {
  size_t end = text.size();
  while (end > 0 && !absl::ascii_isdigit(static_cast<unsigned char>(text[end - 1]))) --end;
  size_t begin = end;
  while (begin > 0 && absl::ascii_isdigit(static_cast<unsigned char>(text[begin - 1]))) --begin;
  // "3 -5" ends with minus five, "8-5" with five.
  const bool is_negative =
      begin > 0 && text[begin - 1] == '-' && begin < end && (begin == 1 || text[begin - 2] == ' ');
  return std::string(
      text.substr(begin - (is_negative ? 1 : 0), end - begin + (is_negative ? 1 : 0)));
}

bool IsRight(const Conversation& item, Scoring scoring, const ChatReply& reply) {
  const Message& expected = item.messages.back();
  switch (scoring) {
    case Scoring::kNumber:
      return LastNumber(reply.content) == LastNumber(expected.content);
    case Scoring::kCalls:
      return SameCalls(item, reply);
    default:
      return reply.calls.empty() &&
             std::string(absl::StripAsciiWhitespace(reply.content)) == expected.content;
  }
}

}  // namespace tessera::trainer
