#include "services/gateway/parse/tagged_parser.h"

#include <algorithm>
#include <utility>

namespace tessera::gateway {

void TaggedParser::Push(std::string_view text, std::vector<OutputEvent>& events) {
  events_ = &events;
  held_ += text;
  Run(/*final=*/false);
}

void TaggedParser::Flush(std::vector<OutputEvent>& events) {
  events_ = &events;
  Run(/*final=*/true);
  if (in_call_) {
    EndInside();
    in_call_ = false;
  }
}

void TaggedParser::Run(bool final) {
  while (!held_.empty()) {
    if (!(in_call_ ? AdvanceCall(final) : AdvanceContent(final))) return;
  }
}

// Content up to the next tag, or as far as no tag can be.
bool TaggedParser::AdvanceContent(bool final) {
  if (after_call_) {
    size_t gap = 0;
    while (gap < held_.size() && gap_dropped_ < kGapBytesMax && IsGap(held_[gap])) {
      ++gap;
      ++gap_dropped_;
    }
    if (gap > 0) line_start_ = held_[gap - 1] == '\n';
    held_.erase(0, gap);
    if (held_.empty()) return true;
    after_call_ = false;
  }
  size_t end = held_.size();
  size_t length = 0;
  TagMatch match = TagMatch::kNo;
  for (size_t at = held_.find('<'); at != std::string::npos; at = held_.find('<', at + 1)) {
    const bool line_start = at == 0 ? line_start_ : held_[at - 1] == '\n';
    match = MatchStart(std::string_view(held_).substr(at), line_start, final, &length);
    if (match == TagMatch::kNo) continue;
    end = at;
    break;
  }
  size_t text = end;
  const bool gap_held = match != TagMatch::kNo || !final;
  while (gap_held && text > 0 && end - text < kGapBytesMax && IsGap(held_[text - 1])) --text;
  EmitContent(std::string_view(held_).substr(0, text));
  held_.erase(0, text);
  if (match != TagMatch::kYes) return false;
  in_call_ = true;
  told_ = false;
  Take(end - text + length);
  return true;
}

void TaggedParser::EmitContent(std::string_view text) {
  if (text.empty()) return;
  line_start_ = text.back() == '\n';
  AppendEvent({.kind = OutputEvent::Kind::kContent, .text = std::string(text)}, *events_);
}

void TaggedParser::Take(size_t bytes) {
  if (!told_) taken_.append(held_, 0, bytes);
  held_.erase(0, bytes);
}

void TaggedParser::Fail() {
  ++failure_count_;
  in_call_ = false;
  EmitContent(std::exchange(taken_, {}));
}

void TaggedParser::BeginCall(std::string_view name) {
  told_ = true;
  taken_.clear();
  shown_ = call_count_ == 0 || options_.parallel;
  if (!shown_) return;
  OutputEvent event;
  event.kind = OutputEvent::Kind::kToolCall;
  event.call_index = call_count_++;
  event.call_id = options_.next_call_id();
  event.name = name;
  AppendEvent(std::move(event), *events_);
}

void TaggedParser::AddArguments(std::string_view text) {
  if (!shown_) return;
  AppendEvent({.kind = OutputEvent::Kind::kArguments,
               .text = std::string(text),
               .call_index = call_count_ - 1},
              *events_);
}

void TaggedParser::RestartCall() {
  told_ = false;
  taken_.clear();
}

void TaggedParser::LeaveCalls() {
  in_call_ = false;
  after_call_ = true;
  gap_dropped_ = 0;
  line_start_ = true;
}

}  // namespace tessera::gateway
