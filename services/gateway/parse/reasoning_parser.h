#pragma once

// Tells reasoning from the rest: <think> ... </think>.

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tessera::gateway {

enum class ReasoningRule : uint8_t {
  kNone,        // no reasoning: tags are content
  kDeepseekR1,  // everything is reasoning up to </think>, unless the prompt has closed it
  kQwen3,       // only what the prompt or the text itself opened
};

// "none", "deepseek_r1", "qwen3"; kInvalidArgument otherwise.
absl::StatusOr<ReasoningRule> ReasoningRuleFromName(std::string_view name);
// kQwen3 if the template's source knows </think> at all: the prompt's tail says the rest.
ReasoningRule DetectReasoningRule(std::string_view chat_template);

// Where the text of a choice begins. `prompt` is the rendered one: it ends with <think> (in
// reasoning) or </think> (not), white space aside; else the rule decides. With `continues_message`
// the tag that stands last in all of the prompt decides.
bool StartsInReasoning(ReasoningRule rule, std::string_view prompt, bool continues_message);

// Newlines after <think>, before </think> and after it belong to the tags. A <think> that opens the
// text is dropped when the text is reasoning anyway; later ones are text. Without </think> all is
// reasoning. Owned by one thread.
class ReasoningParser {
 public:
  ReasoningParser(ReasoningRule rule, bool starts_in_reasoning);

  // Appends what `text` settles to `reasoning` and `rest`; all reasoning stands before all rest.
  void Push(std::string_view text, std::string& reasoning, std::string& rest);
  void Flush(std::string& reasoning, std::string& rest);

  bool in_reasoning() const {
    return state_ == State::kOpening || state_ == State::kOpened || state_ == State::kReasoning;
  }

 private:
  enum class State : uint8_t {
    kMaybe,      // at the front; <think> opens the reasoning
    kOpening,    // at the front, in reasoning; <think> is dropped
    kOpened,     // newlines of the opening tag are dropped
    kReasoning,  // looking for </think>
    kClosed,     // newlines of the closing tag are dropped
    kRest,
  };
  // One decision about the front of held_; false if it needs more text.
  bool Advance(bool final, std::string& reasoning, std::string& rest);
  bool AdvanceFront(bool final, std::string& rest);
  bool AdvanceReasoning(bool final, std::string& reasoning);

  State state_;
  std::string held_;
};

}  // namespace tessera::gateway
