#include "services/gateway/parse/reasoning_parser.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "services/gateway/parse/tag_scan.h"

namespace tessera::gateway {
namespace {

constexpr std::string_view kOpen = "<think>";
constexpr std::string_view kClose = "</think>";

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

}  // namespace

absl::StatusOr<ReasoningRule> ReasoningRuleFromName(std::string_view name) {
  if (name == "none") return ReasoningRule::kNone;
  if (name == "deepseek_r1") return ReasoningRule::kDeepseekR1;
  if (name == "qwen3") return ReasoningRule::kQwen3;
  return absl::InvalidArgumentError(absl::StrCat("reasoning parser '", std::string(name),
                                                 "'; there are none, deepseek_r1, qwen3"));
}

ReasoningRule DetectReasoningRule(std::string_view chat_template) {
  return chat_template.find(kClose) == std::string_view::npos ? ReasoningRule::kNone
                                                              : ReasoningRule::kQwen3;
}

bool StartsInReasoning(ReasoningRule rule, std::string_view prompt, bool continues_message) {
  if (rule == ReasoningRule::kNone) return false;
  const bool by_rule = rule == ReasoningRule::kDeepseekR1;
  if (continues_message) {
    const size_t open = prompt.rfind(kOpen);
    const size_t close = prompt.rfind(kClose);
    if (open == std::string_view::npos) return by_rule && close == std::string_view::npos;
    return close == std::string_view::npos || open > close;
  }
  size_t end = prompt.size();
  while (end > 0 && IsGap(prompt[end - 1])) --end;
  const std::string_view tail = prompt.substr(0, end);
  if (EndsWith(tail, kOpen)) return true;
  if (EndsWith(tail, kClose)) return false;
  return by_rule;
}

ReasoningParser::ReasoningParser(ReasoningRule rule, bool starts_in_reasoning)
    : state_(rule == ReasoningRule::kNone ? State::kRest
             : starts_in_reasoning        ? State::kOpening
                                          : State::kMaybe) {}

void ReasoningParser::Push(std::string_view text, std::string& reasoning, std::string& rest) {
  if (state_ == State::kRest) {
    rest += text;
    return;
  }
  held_ += text;
  while (!held_.empty() && Advance(/*final=*/false, reasoning, rest)) {
  }
}

void ReasoningParser::Flush(std::string& reasoning, std::string& rest) {
  while (!held_.empty() && Advance(/*final=*/true, reasoning, rest)) {
  }
}

bool ReasoningParser::Advance(bool final, std::string& reasoning, std::string& rest) {
  switch (state_) {
    case State::kMaybe:
    case State::kOpening:
      return AdvanceFront(final, rest);
    case State::kReasoning:
      return AdvanceReasoning(final, reasoning);
    case State::kOpened:
    case State::kClosed:
      held_.erase(0, std::min(held_.find_first_not_of("\r\n"), held_.size()));
      if (!held_.empty()) state_ = state_ == State::kOpened ? State::kReasoning : State::kRest;
      return true;
    case State::kRest:
      rest += held_;
      held_.clear();
      return true;
  }
  return false;
}

// At the very front of the text: is there a <think>?
bool ReasoningParser::AdvanceFront(bool final, std::string& rest) {
  const size_t gap = SkipGap(held_, 0);
  const TagMatch match = gap > kGapBytesMax
                             ? TagMatch::kNo
                             : MatchTag(std::string_view(held_).substr(gap), kOpen, final);
  if (match == TagMatch::kMore) return false;
  if (match == TagMatch::kYes) {
    held_.erase(0, gap + kOpen.size());
    state_ = State::kOpened;
  } else if (state_ == State::kOpening) {
    state_ = State::kOpened;
  } else {
    state_ = State::kRest;
    rest += held_;
    held_.clear();
  }
  return true;
}

// Everything is reasoning but the newlines that may stand before </think>.
bool ReasoningParser::AdvanceReasoning(bool final, std::string& reasoning) {
  const auto is_newline = [](char c) { return c == '\n' || c == '\r'; };
  const size_t tag = held_.find(kClose);
  const bool closes = tag != std::string::npos;
  size_t end = closes ? tag : held_.size() - (final ? 0 : HeldForTag(held_, kClose));
  const size_t before_tag = end;
  while (end > 0 && before_tag - end < kGapBytesMax && (closes || !final) &&
         is_newline(held_[end - 1])) {
    --end;
  }
  reasoning.append(held_, 0, end);
  held_.erase(0, closes ? tag + kClose.size() : end);
  if (closes) state_ = State::kClosed;
  return closes;
}

}  // namespace tessera::gateway
