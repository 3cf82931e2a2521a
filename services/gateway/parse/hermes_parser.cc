// <tool_call>{"name": ..., "arguments": {...}}</tool_call>

#include <algorithm>
#include <optional>
#include <utility>

#include "common/json/json.h"
#include "common/json/json_writer.h"
#include "services/gateway/parse/json_scanner.h"
#include "services/gateway/parse/tagged_parser.h"

namespace tessera::gateway {
namespace {

constexpr std::string_view kOpen = "<tool_call>";
constexpr std::string_view kClose = "</tool_call>";

// A line break inside a string is no JSON, but models write it: it becomes its escape.
void AppendTolerant(char c, bool in_string, std::string& out) {
  if (in_string && static_cast<unsigned char>(c) < 0x20) {
    std::string escaped;
    AppendJsonString(std::string_view(&c, 1), escaped);
    out.append(escaped, 1, escaped.size() - 2);
  } else {
    out += c;
  }
}

// The text of a JSON string with its quotes.
std::optional<std::string> DecodeString(std::string_view json) {
  const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(json);
  if (!document.ok() || !document->root().is_string()) return std::nullopt;
  return std::string(*document->root().AsString());
}

class HermesParser final : public TaggedParser {
 public:
  using TaggedParser::TaggedParser;

 private:
  enum class State {
    kObject,    // { must come
    kFirstKey,  // a key, or }
    kKey,       // a key
    kKeyText,   // inside of one
    kColon,
    kValue,      // a value must begin
    kValueText,  // inside of one
    kComma,      // , or }
    kBroken,     // arguments that are no JSON: all is taken as it is, up to the closing tag
    kDone,       // the object has ended: the closing tag, or another call
  };
  enum class Member { kName, kArguments, kOther };

  TagMatch MatchStart(std::string_view text, bool, bool final, size_t* length) override {
    *length = kOpen.size();
    const TagMatch match = MatchTag(text, kOpen, final);
    if (match == TagMatch::kYes) StartObject();
    return match;
  }

  bool AdvanceCall(bool final) override {
    if (state_ == State::kDone) return AdvanceDone(final);
    if (state_ == State::kBroken) return AdvanceBroken(final);
    // Bytes are looked at one by one and taken together: whatever the cuts, each is seen once.
    size_t at = 0;
    std::string arguments;
    std::string decoded;
    while (at < held_.size() && state_ != State::kDone && state_ != State::kBroken) {
      const Verdict verdict = Feed(held_[at], arguments);
      if (verdict == Verdict::kBad && !told_) {
        Take(at);
        Fail();
        return true;
      }
      if (verdict == Verdict::kBad) {
        CountFailure();
        // Broken arguments are told as they stand; what breaks behind them says nothing.
        telling_ = telling_ && state_ == State::kValueText && member_ == Member::kArguments;
        state_ = State::kBroken;
      }
      if (verdict == Verdict::kTaken) ++at;
    }
    Take(at);
    AddArgumentsIfAny(arguments);
    return true;
  }

  void EndInside() override {
    if (!told_) {
      Fail();
    } else if (state_ != State::kDone && state_ != State::kBroken) {
      CountFailure();  // cut off: the arguments stay as far as they came
    }
  }

  enum class Verdict { kTaken, kAgain, kBad };

  void StartObject() {
    state_ = State::kObject;
    told_ = false;
    name_.reset();
    arguments_.clear();
    has_arguments_ = false;
    telling_ = false;
  }

  void AddArgumentsIfAny(std::string_view text) {
    if (!text.empty()) AddArguments(text);
  }

  // One byte of the object; what it adds to the arguments that are being told goes to `arguments`.
  Verdict Feed(char c, std::string& arguments) {
    if (state_ == State::kKeyText || state_ == State::kValueText) return FeedText(c, arguments);
    if (IsGap(c)) return Verdict::kTaken;
    switch (state_) {
      case State::kObject:
        state_ = State::kFirstKey;
        return c == '{' ? Verdict::kTaken : Verdict::kBad;
      case State::kFirstKey:
      case State::kComma:
        if (c == '}') return EndObject(arguments);
        if (state_ == State::kComma) {
          state_ = State::kKey;
          return c == ',' ? Verdict::kTaken : Verdict::kBad;
        }
        [[fallthrough]];
      case State::kKey:
        state_ = State::kKeyText;
        text_.clear();
        scanner_ = JsonScanner();
        return c == '"' ? FeedText(c, arguments) : Verdict::kBad;
      case State::kColon:
        state_ = State::kValue;
        return c == ':' ? Verdict::kTaken : Verdict::kBad;
      default:
        return BeginValue(c, arguments);
    }
  }

  Verdict BeginValue(char c, std::string& arguments) {
    state_ = State::kValueText;
    scanner_ = JsonScanner();
    text_.clear();
    if (member_ == Member::kName && (c != '"' || name_.has_value())) return Verdict::kBad;
    if (member_ == Member::kArguments) {
      if (has_arguments_) return Verdict::kBad;
      has_arguments_ = true;
      if (c != '{' && c != '"' && c != 'n') return Verdict::kBad;
      telling_ = c == '{' && name_.has_value();
      if (telling_) Tell();
    }
    return FeedText(c, arguments);
  }

  // A byte of a key or value.
  Verdict FeedText(char c, std::string& arguments) {
    const bool in_string = scanner_.in_string();
    const JsonScanner::Step step = scanner_.Feed(c);
    if (step == JsonScanner::Step::kBad) return Verdict::kBad;
    if (step != JsonScanner::Step::kEndBefore) {
      const bool tells = state_ == State::kValueText && member_ == Member::kArguments && telling_;
      AppendTolerant(c, in_string, tells ? arguments : text_);
    }
    if (step == JsonScanner::Step::kMore) return Verdict::kTaken;
    const bool is_key = state_ == State::kKeyText;
    state_ = is_key ? State::kColon : State::kComma;
    if (!(is_key ? EndKey() : EndValue())) return Verdict::kBad;
    return step == JsonScanner::Step::kEnd ? Verdict::kTaken : Verdict::kAgain;
  }

  bool EndKey() {
    const std::optional<std::string> key = DecodeString(text_);
    if (!key.has_value()) return false;
    member_ = *key == "name"                                ? Member::kName
              : *key == "arguments" || *key == "parameters" ? Member::kArguments
                                                            : Member::kOther;
    return true;
  }

  bool EndValue() {
    if (member_ == Member::kName) {
      name_ = DecodeString(text_);
      return name_.has_value() && !name_->empty();
    }
    if (member_ != Member::kArguments || telling_) return true;
    arguments_ = text_;
    if (arguments_ == "null") arguments_ = "{}";
    if (!arguments_.starts_with('"')) return true;
    // Some models write the object as a string of JSON.
    const std::optional<std::string> inner = DecodeString(arguments_);
    if (!inner.has_value()) return false;
    const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(*inner);
    if (!document.ok() || !document->root().is_object()) return false;
    arguments_ = *inner;
    return true;
  }

  void Tell() {
    BeginCall(*name_);
    told_ = true;
  }

  Verdict EndObject(std::string& arguments) {
    if (!told_) {
      if (!name_.has_value()) return Verdict::kBad;
      Tell();
      arguments += has_arguments_ ? arguments_ : "{}";
    }
    state_ = State::kDone;
    return Verdict::kTaken;
  }

  // Behind an object.
  bool AdvanceDone(bool final) {
    // A bracket or comma too many is a slip that models make.
    const size_t at = std::min(held_.find_first_not_of(" \t\r\n}],"), held_.size());
    if (at > 0) {
      Take(at);
      return true;
    }
    if (held_[0] == '{') {
      StartObject();
      RestartCall();
      return true;
    }
    const TagMatch close = MatchTag(held_, kClose, final);
    if (close == TagMatch::kMore) return false;
    if (close == TagMatch::kYes) {
      Take(kClose.size());
    } else if (MatchTag(held_, kOpen, final) == TagMatch::kMore) {
      return false;
    } else if (!held_.starts_with(kOpen)) {
      CountFailure();  // what follows is content
    }
    LeaveCalls();
    return true;
  }

  bool AdvanceBroken(bool final) {
    const size_t tag = held_.find(kClose);
    const bool closes = tag != std::string::npos;
    const size_t end = closes ? tag : held_.size() - (final ? 0 : HeldForTag(held_, kClose));
    if (telling_) AddArgumentsIfAny(std::string_view(held_).substr(0, end));
    Take(closes ? tag + kClose.size() : end);
    if (closes) LeaveCalls();
    return closes || final;
  }

  State state_ = State::kObject;
  JsonScanner scanner_;
  std::string text_;  // of the key or value that is being read
  Member member_ = Member::kOther;
  std::optional<std::string> name_;
  std::string arguments_;  // that came before the name, or as a string
  bool has_arguments_ = false;
  bool telling_ = false;  // arguments are told as they come
  bool told_ = false;     // of this object
};

}  // namespace

std::unique_ptr<ToolParser> MakeHermesParser(ToolParserOptions options) {
  return std::make_unique<HermesParser>(std::move(options));
}

}  // namespace tessera::gateway
