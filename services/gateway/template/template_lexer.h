#pragma once

// Cuts a template into text and the tokens of its tags.

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera::gateway {

struct TemplateToken {
  enum class Kind : uint8_t {
    kText,        // text between tags, as it is to be printed
    kPrintBegin,  // {{
    kPrintEnd,    // }}
    kBlockBegin,  // {%
    kBlockEnd,    // %}
    kName,
    kString,  // unescaped
    kInteger,
    kFloat,
    kOperator,  // one of ( ) [ ] { } . , : | ~ + - * / // % ** = == != < > <= >=
    kEnd
  };
  Kind kind;
  std::string text;
  int line;
};

// White space as chat templates are written for: a newline behind a block tag goes (trim_blocks),
// blanks before a block tag that stands first in its line go (lstrip_blocks), "-" at a tag takes
// all white space on its side, "+" keeps it, one newline at the end of the template goes. Comments
// and {% raw %} are resolved here. Errors: kInvalidArgument "line N: ...": a tag, string or comment
// that is not closed, a character that means nothing.
absl::StatusOr<std::vector<TemplateToken>> LexTemplate(std::string_view source);

// kInvalidArgument "line N: message".
absl::Status TemplateError(int line, std::string_view message);

}  // namespace tessera::gateway
