#include "services/gateway/parse/argument_types.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "common/json/json.h"
#include "common/json/json_writer.h"

namespace tessera::gateway {
namespace {

constexpr int kSchemaDepthMax = 8;

const TemplateValue* MemberOf(const TemplateValue* value, std::string_view key) {
  return value != nullptr && value->is_dict() ? value->AsDict().Find(key) : nullptr;
}

void AddType(std::string_view name, ArgumentTypes& types) {
  if (name == "string") types.string = true;
  if (name == "integer") types.integer = true;
  if (name == "number") types.number = true;
  if (name == "boolean") types.boolean = true;
  if (name == "null") types.null = true;
  if (name == "object") types.object = true;
  if (name == "array") types.array = true;
}

void AddTypeOfValue(const TemplateValue& value, ArgumentTypes& types) {
  if (value.is_string()) types.string = true;
  if (value.is_integer()) types.integer = true;
  if (value.is_number() && !value.is_integer()) types.number = true;
  if (value.is_bool()) types.boolean = true;
  if (value.is_none()) types.null = true;
  if (value.is_dict()) types.object = true;
  if (value.is_list()) types.array = true;
}

// "#/$defs/Name": each step a member.
const TemplateValue* Resolve(const TemplateValue& root, std::string_view reference) {
  if (!reference.starts_with("#/")) return nullptr;
  reference.remove_prefix(2);
  const TemplateValue* at = &root;
  while (at != nullptr && !reference.empty()) {
    const size_t slash = std::min(reference.find('/'), reference.size());
    at = MemberOf(at, reference.substr(0, slash));
    reference.remove_prefix(std::min(slash + 1, reference.size()));
  }
  return at;
}

void AddTypes(const TemplateValue& schema, const TemplateValue& root, int depth,
              ArgumentTypes& types) {
  if (depth > kSchemaDepthMax) return;
  if (const TemplateValue* type = MemberOf(&schema, "type"); type != nullptr) {
    if (type->is_string()) AddType(type->AsString(), types);
    if (type->is_list()) {
      for (const TemplateValue& name : type->AsList()) {
        if (name.is_string()) AddType(name.AsString(), types);
      }
    }
    return;
  }
  if (const TemplateValue* values = MemberOf(&schema, "enum");
      values != nullptr && values->is_list()) {
    for (const TemplateValue& value : values->AsList()) AddTypeOfValue(value, types);
  }
  if (const TemplateValue* value = MemberOf(&schema, "const")) AddTypeOfValue(*value, types);
  if (const TemplateValue* reference = MemberOf(&schema, "$ref");
      reference != nullptr && reference->is_string()) {
    const TemplateValue* target = Resolve(root, reference->AsString());
    if (target != nullptr) AddTypes(*target, root, depth + 1, types);
  }
  for (const std::string_view key : {"anyOf", "oneOf", "allOf"}) {
    const TemplateValue* parts = MemberOf(&schema, key);
    if (parts == nullptr || !parts->is_list()) continue;
    for (const TemplateValue& part : parts->AsList()) AddTypes(part, root, depth + 1, types);
  }
}

bool IsAny(const ArgumentTypes& t) {
  return t.string || t.integer || t.number || t.boolean || t.null || t.object || t.array;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && absl::ascii_isspace(static_cast<unsigned char>(text.front())))
    text.remove_prefix(1);
  while (!text.empty() && absl::ascii_isspace(static_cast<unsigned char>(text.back())))
    text.remove_suffix(1);
  return text;
}

bool Fits(const JsonValue& value, const ArgumentTypes& types) {
  switch (value.kind()) {
    case JsonKind::kNumber:
      return types.number || (types.integer && value.AsInteger().ok());
    case JsonKind::kObject:
      return types.object;
    case JsonKind::kArray:
      return types.array;
    default:
      return false;
  }
}

}  // namespace

const ToolDefinition* ToolSchemas::Find(std::string_view name) const {
  for (const ToolDefinition& tool : tools_) {
    if (tool.name == name) return &tool;
  }
  return nullptr;
}

const TemplateValue* ToolSchemas::PropertyOf(std::string_view tool,
                                             std::string_view parameter) const {
  const ToolDefinition* definition = Find(tool);
  if (definition == nullptr) return nullptr;
  return MemberOf(MemberOf(&definition->parameters, "properties"), parameter);
}

bool ToolSchemas::has_parameter(std::string_view tool, std::string_view parameter) const {
  return PropertyOf(tool, parameter) != nullptr;
}

ArgumentTypes ToolSchemas::TypesOf(std::string_view tool, std::string_view parameter) const {
  ArgumentTypes types;
  if (const TemplateValue* property = PropertyOf(tool, parameter))
    AddTypes(*property, Find(tool)->parameters, 0, types);
  if (!IsAny(types)) types.string = true;
  return types;
}

std::string ArgumentJson(std::string_view text, const ArgumentTypes& types) {
  const std::string_view word = Trimmed(text);
  std::string lower = word.size() <= 5 ? absl::AsciiStrToLower(std::string(word)) : std::string();
  if (types.null && (lower == "null" || lower == "none")) return "null";
  if (types.boolean && (lower == "true" || lower == "false")) return lower;
  if (types.integer || types.number || types.object || types.array) {
    const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(word);
    if (document.ok() && Fits(document->root(), types)) return std::string(word);
  }
  std::string json;
  AppendJsonString(text, json);
  return json;
}

}  // namespace tessera::gateway
