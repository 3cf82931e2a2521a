#include "services/gateway/parse/json_scanner.h"

#include <cctype>
#include <string_view>

#include "services/gateway/parse/tag_scan.h"

namespace tessera::gateway {
namespace {

bool IsNumberByte(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '+' || c == '.' ||
         c == 'e' || c == 'E';
}

size_t SkipDigits(std::string_view text, size_t at) {
  while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0) ++at;
  return at;
}

// -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
bool IsNumber(std::string_view text) {
  size_t at = text.starts_with('-') ? 1 : 0;
  const size_t whole = SkipDigits(text, at);
  if (whole == at || (text[at] == '0' && whole > at + 1)) return false;
  at = whole;
  if (at < text.size() && text[at] == '.') {
    const size_t end = SkipDigits(text, at + 1);
    if (end == at + 1) return false;
    at = end;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    const size_t end = SkipDigits(text, at);
    if (end == at) return false;
    at = end;
  }
  return at == text.size();
}

std::string_view WordOf(char c) { return c == 't' ? "true" : c == 'f' ? "false" : "null"; }

}  // namespace

JsonScanner::Step JsonScanner::Begin(char c) {
  if (c == '"') {
    is_key_ = false;
    state_ = State::kString;
  } else if (c == '{' || c == '[') {
    if (open_.size() >= kDepthMax) return Step::kBad;
    open_.push_back(c);
    state_ = c == '{' ? State::kFirstKey : State::kFirstValue;
  } else if (c == 't' || c == 'f' || c == 'n') {
    word_.assign(1, c);
    state_ = State::kWord;
  } else if (IsNumberByte(c)) {
    word_.assign(1, c);
    state_ = State::kNumber;
  } else {
    return Step::kBad;
  }
  return Step::kMore;
}

JsonScanner::Step JsonScanner::EndOfValue() {
  if (open_.empty()) return Step::kEnd;
  state_ = State::kAfter;
  return Step::kMore;
}

JsonScanner::Step JsonScanner::AfterNumber(char c) {
  if (IsNumberByte(c)) {
    word_ += c;
    return word_.size() > 400 ? Step::kBad : Step::kMore;
  }
  if (!IsNumber(word_)) return Step::kBad;
  if (open_.empty()) return Step::kEndBefore;
  state_ = State::kAfter;
  return Feed(c);
}

JsonScanner::Step JsonScanner::Feed(char c) {
  switch (state_) {
    case State::kString:
      if (c == '\\') state_ = State::kEscape;
      if (c != '"') return Step::kMore;
      if (!is_key_) return EndOfValue();
      state_ = State::kColon;
      return Step::kMore;
    case State::kEscape:
      if (std::string_view("\"\\/bfnrtu").find(c) == std::string_view::npos) return Step::kBad;
      state_ = c == 'u' ? State::kHex : State::kString;
      hex_left_ = 4;
      return Step::kMore;
    case State::kHex:
      if (std::isxdigit(static_cast<unsigned char>(c)) == 0) return Step::kBad;
      if (--hex_left_ == 0) state_ = State::kString;
      return Step::kMore;
    case State::kWord: {
      const std::string_view word = WordOf(word_[0]);
      if (c != word[word_.size()]) return Step::kBad;
      word_ += c;
      return word_.size() == word.size() ? EndOfValue() : Step::kMore;
    }
    case State::kNumber:
      return AfterNumber(c);
    default:
      break;
  }
  if (IsGap(c) && !open_.empty()) return Step::kMore;
  const bool object = !open_.empty() && open_.back() == '{';
  const bool may_end =
      state_ == State::kAfter || state_ == State::kFirstKey || state_ == State::kFirstValue;
  if (may_end && c == (object ? '}' : ']')) {
    open_.pop_back();
    return EndOfValue();
  }
  if (state_ == State::kAfter) {
    if (c != ',') return Step::kBad;
    state_ = object ? State::kKey : State::kValue;
    return Step::kMore;
  }
  if (state_ == State::kColon) {
    if (c != ':') return Step::kBad;
    state_ = State::kValue;
    return Step::kMore;
  }
  if (state_ == State::kKey || state_ == State::kFirstKey) {
    if (c != '"') return Step::kBad;
    is_key_ = true;
    state_ = State::kString;
    return Step::kMore;
  }
  return Begin(c);
}

}  // namespace tessera::gateway
