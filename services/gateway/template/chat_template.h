#pragma once

// The chat template of a model: conversations to prompts.
//
// Templates are Jinja, in the subset that models use: if, for (with if, else, break, continue),
// set, macro, filter, raw, generation; the operators, slices and conditionals; the filters, tests
// and methods of template_builtins.h; range, namespace, dict, raise_exception, strftime_now.
// trim_blocks and lstrip_blocks are on. tojson prints like Python's json.dumps without ASCII
// escapes. Nothing outside of the variables can be reached.

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/json/json.h"
#include "services/gateway/template/render_budget.h"
#include "services/gateway/template/template_syntax.h"
#include "services/gateway/template/template_value.h"

namespace tessera::gateway {

// Immutable, thread-safe.
class ChatTemplate {
 public:
  // Errors: kInvalidArgument "chat template: line N: ...".
  static absl::StatusOr<std::unique_ptr<const ChatTemplate>> Parse(
      std::string_view source, const TemplateLimits& limits = {});

  // `variables`: messages (see TemplateMessages), tools, add_generation_prompt, bos_token and what
  // else the caller has. `now` is what strftime_now shows, in UTC. Errors: kInvalidArgument "chat
  // template: line N: ...": what raise_exception says, an operation that the values do not have, a
  // limit.
  absl::StatusOr<std::string> Render(ValueMap variables, absl::Time now) const;

 private:
  ChatTemplate(Block block, const TemplateLimits& limits)
      : block_(std::move(block)), limits_(limits) {}

  const Block block_;
  const TemplateLimits limits_;
};

// A request's "messages" as templates want them:
//   content    an array of text parts becomes one string, null becomes ""
//   role       developer becomes system
//   reasoning  reasoning and reasoning_content both are there if one of them is
//   tool_calls arguments that are a string become what ArgumentsValue makes of it
// Errors: kInvalidArgument with the path: no array of objects, a part that is no text.
absl::StatusOr<TemplateValue> TemplateMessages(const JsonValue& messages);

// The arguments of a call in a conversation: the object that `json` is, {} if it is empty. What is
// no object stays the string: models write broken calls, and clients send them back with the rest.
TemplateValue ArgumentsValue(std::string_view json);

}  // namespace tessera::gateway
