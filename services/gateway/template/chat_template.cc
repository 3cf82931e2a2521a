#include "services/gateway/template/chat_template.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "services/gateway/template/interpreter.h"
#include "services/gateway/template/template_parser.h"

namespace tessera::gateway {
namespace {

constexpr std::string_view kContext = "chat template";

absl::StatusOr<TemplateValue> TextOfParts(const JsonValue& parts) {
  std::string text;
  for (const JsonValue part : parts.elements()) {
    TESSERA_ASSIGN_OR_RETURN(const JsonValue type, part.Member("type"));
    TESSERA_ASSIGN_OR_RETURN(const std::string_view name, type.AsString());
    if (name != "text") return type.Unexpected("text: this model reads nothing else");
    TESSERA_ASSIGN_OR_RETURN(const JsonValue content, part.Member("text"));
    TESSERA_ASSIGN_OR_RETURN(const std::string_view piece, content.AsString());
    text += piece;
  }
  return TemplateValue::String(std::move(text));
}

// One of message.tool_calls, with its arguments as an object.
absl::StatusOr<TemplateValue> ToolCall(const JsonValue& call) {
  TESSERA_ASSIGN_OR_RETURN(const JsonMembers members, call.AsObject());
  ValueMap out;
  for (const auto [key, value] : members)
    out.members.emplace_back(key, TemplateValue::FromJson(value));
  const std::optional<JsonValue> function = call.Find("function");
  if (!function.has_value()) return TemplateValue::Dict(std::move(out));
  const std::optional<JsonValue> arguments = function->Find("arguments");
  if (!arguments.has_value() || !arguments->is_string()) return TemplateValue::Dict(std::move(out));
  TESSERA_ASSIGN_OR_RETURN(const std::string_view text, arguments->AsString());
  ValueMap changed = out.Find("function")->AsDict();
  changed.Set("arguments", ArgumentsValue(text));
  out.Set("function", TemplateValue::Dict(std::move(changed)));
  return TemplateValue::Dict(std::move(out));
}

absl::StatusOr<TemplateValue> MemberOfMessage(std::string_view key, const JsonValue& value) {
  if (key == "content" && value.is_null()) return TemplateValue::String("");
  if (key == "content" && value.is_array()) return TextOfParts(value);
  if (key == "role" && value.is_string() && *value.AsString() == "developer") {
    return TemplateValue::String("system");
  }
  if (key != "tool_calls" || !value.is_array()) return TemplateValue::FromJson(value);
  ValueList calls;
  for (const JsonValue call : value.elements()) {
    TESSERA_ASSIGN_OR_RETURN(TemplateValue converted, ToolCall(call));
    calls.push_back(std::move(converted));
  }
  return TemplateValue::List(std::move(calls));
}

}  // namespace

absl::StatusOr<std::unique_ptr<const ChatTemplate>> ChatTemplate::Parse(
    std::string_view source, const TemplateLimits& limits) {
  if (source.size() > limits.source_bytes_max) {
    return absl::InvalidArgumentError(absl::StrCat("chat template: ", source.size(),
                                                   " bytes; at most ", limits.source_bytes_max,
                                                   " are accepted"));
  }
  if (FindInvalidUtf8(source) != std::string_view::npos) {
    return absl::InvalidArgumentError("chat template: it is not valid UTF-8");
  }
  absl::StatusOr<Block> block = ParseTemplate(source);
  if (!block.ok()) return Annotate(block.status(), kContext);
  return std::unique_ptr<const ChatTemplate>(new ChatTemplate(*std::move(block), limits));
}

absl::StatusOr<std::string> ChatTemplate::Render(ValueMap variables, absl::Time now) const {
  variables.Set("strftime_now",
                TemplateValue::Function(
                    [now](const CallArguments& arguments) -> absl::StatusOr<TemplateValue> {
                      if (arguments.positional.empty() || !arguments.positional[0].is_string() ||
                          arguments.positional[0].AsString().size() > 1000) {
                        return absl::InvalidArgumentError("strftime_now() needs a format");
                      }
                      return TemplateValue::String(absl::FormatTime(
                          arguments.positional[0].AsString(), now, absl::UTCTimeZone()));
                    }));
  Interpreter interpreter(limits_, std::move(variables));
  absl::StatusOr<std::string> text = interpreter.Run(block_);
  if (!text.ok()) return Annotate(text.status(), kContext);
  return text;
}

TemplateValue ArgumentsValue(std::string_view json) {
  if (json.empty()) return TemplateValue::Dict({});
  const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(json);
  if (!document.ok() || !document->root().is_object()) {
    return TemplateValue::String(std::string(json));
  }
  return TemplateValue::FromJson(document->root());
}

absl::StatusOr<TemplateValue> TemplateMessages(const JsonValue& messages) {
  TESSERA_ASSIGN_OR_RETURN(const JsonElements elements, messages.AsArray());
  ValueList out;
  for (const JsonValue message : elements) {
    TESSERA_ASSIGN_OR_RETURN(const JsonMembers members, message.AsObject());
    ValueMap map;
    for (const auto [key, value] : members) {
      TESSERA_ASSIGN_OR_RETURN(TemplateValue converted, MemberOfMessage(key, value));
      map.members.emplace_back(key, std::move(converted));
    }
    const TemplateValue* reasoning = map.Find("reasoning");
    const TemplateValue* content = map.Find("reasoning_content");
    if (reasoning == nullptr && content != nullptr) {
      map.Set("reasoning", TemplateValue(*content));
    } else if (reasoning != nullptr && content == nullptr) {
      map.Set("reasoning_content", TemplateValue(*reasoning));
    }
    out.push_back(TemplateValue::Dict(std::move(map)));
  }
  return TemplateValue::List(std::move(out));
}

}  // namespace tessera::gateway
