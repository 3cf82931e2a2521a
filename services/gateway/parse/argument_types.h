#pragma once

// Text to JSON by a tool's schema: what qwen3_coder's parameters need, which are text without
// quotes. For the sources of this folder only.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "services/gateway/api/generation_request.h"

namespace tessera::gateway {

// Kinds of JSON that a parameter may have.
struct ArgumentTypes {
  bool string = false;
  bool integer = false;
  bool number = false;
  bool boolean = false;
  bool null = false;
  bool object = false;
  bool array = false;

  // Nothing but text: it can be told while it comes.
  bool only_string() const {
    return string && !integer && !number && !boolean && !null && !object && !array;
  }
};

// Of the tools of a request. Borrows them.
class ToolSchemas {
 public:
  explicit ToolSchemas(const std::vector<ToolDefinition>& tools) : tools_(tools) {}

  bool has_tool(std::string_view name) const { return Find(name) != nullptr; }
  // Whether the tool's schema has such a parameter.
  bool has_parameter(std::string_view tool, std::string_view parameter) const;
  // A string where the schema says nothing.
  ArgumentTypes TypesOf(std::string_view tool, std::string_view parameter) const;

 private:
  const ToolDefinition* Find(std::string_view name) const;
  const TemplateValue* PropertyOf(std::string_view tool, std::string_view parameter) const;

  const std::vector<ToolDefinition>& tools_;
};

// `text` as JSON of one of `types`; as a string if it is none of the others.
//   null     "null" or "None"         boolean  true, false in any case
//   integer, number, object, array    JSON as it stands
std::string ArgumentJson(std::string_view text, const ArgumentTypes& types);

}  // namespace tessera::gateway
