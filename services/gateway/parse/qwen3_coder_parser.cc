// <tool_call>
// <function=NAME>
// <parameter=P>
// VALUE
// </parameter>
// </function>
// </tool_call>
//
// VALUE is any text, tags included. A tag ends it only where the format goes on behind it: a
// closing tag before the next parameter that the tool has, or before the end of the call. A whole
// call inside a value is passed over. Any closing tag may be missing.

#include <algorithm>
#include <utility>

#include "common/json/json_writer.h"
#include "services/gateway/parse/argument_types.h"
#include "services/gateway/parse/tagged_parser.h"

namespace tessera::gateway {
namespace {

constexpr std::string_view kOpenCall = "<tool_call>";
constexpr std::string_view kCloseCall = "</tool_call>";
constexpr std::string_view kOpenFunction = "<function=";
constexpr std::string_view kCloseFunction = "</function>";
constexpr std::string_view kOpenParameter = "<parameter=";
constexpr std::string_view kCloseParameter = "</parameter>";
constexpr size_t kNameBytesMax = 256;

bool IsNewline(char c) { return c == '\n' || c == '\r'; }

// Bytes of a line's end at the end of `text`.
size_t NewlineAtEnd(std::string_view text) {
  if (text.ends_with("\r\n")) return 2;
  return text.ends_with('\n') || text.ends_with('\r') ? 1 : 0;
}

class Qwen3CoderParser final : public TaggedParser {
 public:
  explicit Qwen3CoderParser(ToolParserOptions options)
      : TaggedParser(std::move(options)), schemas_(this->options().tools) {}

 private:
  enum class State {
    kFunction,    // <function= must come
    kName,        // its name, up to >
    kBetween,     // a parameter, or the end
    kParameter,   // its name, up to >
    kValueStart,  // a newline that belongs to the tag, perhaps
    kValue,
    kDone,  // the function has ended: </tool_call>, or another one
  };
  // How a '<' inside a value stands to it.
  struct Ending {
    TagMatch match = TagMatch::kNo;
    size_t length = 0;     // of the tag, if it belongs to the value's end
    int depth_change = 0;  // with kNo: a call inside the value begins or ends
  };

  TagMatch MatchStart(std::string_view text, bool line_start, bool final, size_t* length) override {
    state_ = State::kFunction;
    *length = kOpenCall.size();
    const TagMatch call = MatchTag(text, kOpenCall, final);
    if (call == TagMatch::kYes || !line_start) return call;
    // The opening tag may be missing if the function is one of ours.
    const TagMatch function = MatchTag(text, kOpenFunction, final);
    if (function != TagMatch::kYes) return call == TagMatch::kMore ? call : function;
    std::string name;
    const TagMatch named = MatchName(text.substr(kOpenFunction.size()), final, &name);
    if (named != TagMatch::kYes) return named;
    *length = 0;
    return schemas_.has_tool(name) ? TagMatch::kYes : TagMatch::kNo;
  }

  bool AdvanceCall(bool final) override {
    switch (state_) {
      case State::kFunction:
        return AdvanceFunction(final);
      case State::kName:
        return AdvanceName(final);
      case State::kBetween:
        return AdvanceBetween(final);
      case State::kParameter:
        return AdvanceParameter(final);
      case State::kValueStart:
        return AdvanceValueStart(final);
      case State::kValue:
        return AdvanceValue(final);
      case State::kDone:
        return AdvanceDone(final);
    }
    return false;
  }

  void EndInside() override {
    if (state_ == State::kFunction || state_ == State::kName) {
      Fail();
      return;
    }
    if (state_ == State::kDone) return;
    CountFailure();
    // Only closing tags are missing: the call is whole. Inside a value it is not, and its arguments
    // stay open, so that nobody takes them for whole.
    if (state_ == State::kBetween) EndFunction();
  }

  // A name up to '>'; kNo if it cannot be one.
  static TagMatch MatchName(std::string_view text, bool final, std::string* name) {
    const size_t end = text.find_first_of("><\n\r");
    if (end == std::string_view::npos || end > kNameBytesMax) {
      return end == std::string_view::npos && text.size() <= kNameBytesMax && !final
                 ? TagMatch::kMore
                 : TagMatch::kNo;
    }
    if (text[end] != '>' || end == 0) return TagMatch::kNo;
    *name = std::string(text.substr(0, end));
    return TagMatch::kYes;
  }

  bool AdvanceFunction(bool final) {
    const size_t gap = SkipGap(held_, 0);
    if (gap > 0) {
      Take(gap);
      return true;
    }
    const TagMatch match = MatchTag(held_, kOpenFunction, final);
    if (match == TagMatch::kMore) return false;
    if (match == TagMatch::kNo) {
      Fail();
    } else {
      Take(kOpenFunction.size());
      state_ = State::kName;
    }
    return true;
  }

  bool AdvanceName(bool final) {
    const TagMatch match = MatchName(held_, final, &function_);
    if (match == TagMatch::kMore) return false;
    if (match == TagMatch::kNo) {
      Fail();
      return true;
    }
    BeginCall(function_);
    Take(function_.size() + 1);
    given_.clear();
    state_ = State::kBetween;
    return true;
  }

  bool AdvanceBetween(bool final) {
    const size_t gap = SkipGap(held_, 0);
    if (gap > 0) {
      Take(gap);
      return true;
    }
    const std::string_view held = held_;
    const TagMatch parameter = MatchTag(held, kOpenParameter, final);
    const TagMatch function = MatchTag(held, kCloseFunction, final);
    const TagMatch call = MatchTag(held, kCloseCall, final);
    const TagMatch next =
        Either(MatchTag(held, kOpenCall, final), MatchTag(held, kOpenFunction, final));
    if (parameter == TagMatch::kYes) {
      Take(kOpenParameter.size());
      state_ = State::kParameter;
    } else if (function == TagMatch::kYes) {
      Take(kCloseFunction.size());
      EndFunction();
    } else if (call == TagMatch::kYes || next == TagMatch::kYes) {
      EndFunction();  // the tag itself is read in kDone
    } else if (parameter == TagMatch::kMore || function == TagMatch::kMore ||
               call == TagMatch::kMore || next == TagMatch::kMore) {
      return false;
    } else {
      // Text between parameters is nothing; a tag that was taken for a value's end was none.
      Take(1);
    }
    return true;
  }

  bool AdvanceParameter(bool final) {
    const TagMatch match = MatchName(held_, final, &parameter_);
    if (match == TagMatch::kMore) return false;
    if (match == TagMatch::kNo) {
      CountFailure();
      state_ = State::kBetween;
      return true;
    }
    Take(parameter_.size() + 1);
    BeginValue();
    return true;
  }

  void BeginValue() {
    types_ = schemas_.TypesOf(function_, parameter_);
    dropped_ = std::find(given_.begin(), given_.end(), parameter_) != given_.end();
    value_.clear();
    depth_ = 0;
    state_ = State::kValueStart;
    if (dropped_) {
      CountFailure();  // the first value of a name counts
      return;
    }
    std::string text = given_.empty() ? "{" : ", ";
    AppendJsonString(parameter_, text);
    text += ": ";
    if (types_.only_string()) text += '"';
    AddArguments(text);
    given_.push_back(parameter_);
  }

  bool AdvanceValueStart(bool final) {
    if (held_ == "\r" && !final) return false;
    if (held_.starts_with("\r\n")) {
      Take(2);
    } else if (IsNewline(held_[0])) {
      Take(1);
    }
    state_ = State::kValue;
    return true;
  }

  bool AdvanceValue(bool final) {
    const size_t tag = held_.find('<');
    if (tag == std::string::npos) {
      AddValue(held_.size() - (final ? 0 : NewlineAtEnd(held_)));
      return false;
    }
    const size_t newline = NewlineAtEnd(std::string_view(held_).substr(0, tag));
    AddValue(tag - newline);
    const Ending ending = EndingAt(std::string_view(held_).substr(newline), final);
    if (ending.match == TagMatch::kMore) return false;
    if (ending.match == TagMatch::kNo) {
      depth_ = std::max(0, depth_ + ending.depth_change);
      AddValue(newline + 1);
      return true;
    }
    Take(newline + ending.length);
    EndValue();
    return true;
  }

  // `text` begins with '<'.
  Ending EndingAt(std::string_view text, bool final) const {
    if (const Ending nested = NestedAt(text, final);
        nested.match != TagMatch::kNo || nested.depth_change != 0 || depth_ > 0) {
      return nested;
    }
    Ending ending;
    const auto consider = [&](TagMatch match, size_t length) {
      if (ending.match == TagMatch::kYes || match == TagMatch::kNo) return;
      ending.match = match;
      if (match == TagMatch::kYes) ending.length = length;
    };
    consider(MatchThen(text, kCloseParameter, final,
                       [&](std::string_view rest) { return EndsParameter(rest, final); }),
             kCloseParameter.size());
    // The value's own closing tag may be missing; these are read again in kBetween.
    consider(NextParameter(text, final), 0);
    consider(FunctionEnd(text, final), 0);
    return ending;
  }

  // `tag`, and then what `follows` says of the text behind its white space.
  template <typename Follows>
  static TagMatch MatchThen(std::string_view text, std::string_view tag, bool final,
                            const Follows& follows) {
    const TagMatch match = MatchTag(text, tag, final);
    if (match != TagMatch::kYes) return match;
    const size_t next = SkipGap(text, tag.size());
    if (next - tag.size() > kGapBytesMax) return TagMatch::kNo;
    if (next == text.size() && !final) return TagMatch::kMore;
    return follows(text.substr(next));
  }

  static TagMatch Either(TagMatch a, TagMatch b) {
    if (a == TagMatch::kYes || b == TagMatch::kYes) return TagMatch::kYes;
    return a == TagMatch::kMore || b == TagMatch::kMore ? TagMatch::kMore : TagMatch::kNo;
  }

  // Behind </parameter>: the end of the text, the next parameter, the end of the function.
  TagMatch EndsParameter(std::string_view rest, bool final) const {
    if (rest.empty()) return TagMatch::kYes;
    return Either(Either(NextParameter(rest, final), FunctionEnd(rest, final)),
                  MatchTag(rest, kCloseCall, final));
  }

  // <parameter=P> of a parameter that the tool has and the call does not yet have.
  TagMatch NextParameter(std::string_view text, bool final) const {
    const TagMatch match = MatchTag(text, kOpenParameter, final);
    if (match != TagMatch::kYes) return match;
    std::string name;
    const TagMatch named = MatchName(text.substr(kOpenParameter.size()), final, &name);
    if (named != TagMatch::kYes) return named;
    const bool given = std::find(given_.begin(), given_.end(), name) != given_.end();
    const bool known = schemas_.has_parameter(function_, name) || !schemas_.has_tool(function_);
    return known && !given ? TagMatch::kYes : TagMatch::kNo;
  }

  // </function> and then the end of the call, another call, or the end of the text.
  static TagMatch FunctionEnd(std::string_view text, bool final) {
    return MatchThen(text, kCloseFunction, final, [final](std::string_view rest) {
      if (rest.empty()) return TagMatch::kYes;
      return Either(Either(MatchTag(rest, kCloseCall, final), MatchTag(rest, kOpenCall, final)),
                    MatchTag(rest, kOpenFunction, final));
    });
  }

  // A whole call that is text: <tool_call><function= ... </function></tool_call>.
  Ending NestedAt(std::string_view text, bool final) const {
    Ending ending;
    const TagMatch open = MatchThen(text, kOpenCall, final, [final](std::string_view rest) {
      return MatchTag(rest, kOpenFunction, final);
    });
    if (open == TagMatch::kYes) return {.depth_change = 1};
    if (open == TagMatch::kMore) ending.match = TagMatch::kMore;
    if (depth_ == 0) return ending;
    const TagMatch close = MatchThen(text, kCloseFunction, final, [final](std::string_view rest) {
      return MatchTag(rest, kCloseCall, final);
    });
    if (close == TagMatch::kYes) return {.depth_change = -1};
    if (close == TagMatch::kMore) ending.match = TagMatch::kMore;
    return ending;
  }

  // The first `bytes` of held_ belong to the value.
  void AddValue(size_t bytes) {
    const std::string_view text = std::string_view(held_).substr(0, bytes);
    if (!dropped_ && !text.empty()) {
      if (types_.only_string()) {
        std::string json;
        AppendJsonString(text, json);
        AddArguments(std::string_view(json).substr(1, json.size() - 2));
      } else {
        value_ += text;
      }
    }
    Take(bytes);
  }

  void EndValue() {
    state_ = State::kBetween;
    if (dropped_) return;
    AddArguments(types_.only_string() ? "\"" : ArgumentJson(value_, types_));
  }

  void EndFunction() {
    AddArguments(given_.empty() ? "{}" : "}");
    state_ = State::kDone;
  }

  // Behind a function.
  bool AdvanceDone(bool final) {
    const size_t gap = SkipGap(held_, 0);
    if (gap > 0) {
      Take(gap);
      return true;
    }
    const TagMatch close = MatchTag(held_, kCloseCall, final);
    const TagMatch next = MatchTag(held_, kOpenFunction, final);
    if (close == TagMatch::kMore || next == TagMatch::kMore) return false;
    if (close == TagMatch::kYes) Take(kCloseCall.size());
    if (next == TagMatch::kYes) {
      RestartCall();
      state_ = State::kFunction;
    } else {
      LeaveCalls();
    }
    return true;
  }

  const ToolSchemas schemas_;
  State state_ = State::kFunction;
  std::string function_;
  std::vector<std::string> given_;  // parameters of this call so far
  std::string parameter_;
  ArgumentTypes types_;
  bool dropped_ = false;  // a second value for the same name
  std::string value_;     // if it is not told as it comes
  int depth_ = 0;         // of calls inside the value
};

}  // namespace

std::unique_ptr<ToolParser> MakeQwen3CoderParser(ToolParserOptions options) {
  return std::make_unique<Qwen3CoderParser>(std::move(options));
}

}  // namespace tessera::gateway
