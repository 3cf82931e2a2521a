#include "common/text/regex_translation.h"

#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace tessera {
namespace {

constexpr int kDepthMax = 64;

absl::Status Unsupported(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("regular expression: ", std::string(what)));
}

// {n}, {n,}, {,m} and {n,m}; nothing if the text is no interval, for then '{' means itself.
struct Interval {
  std::string text;
  bool is_fixed = false;
  size_t length = 0;
};

std::optional<Interval> FindInterval(std::string_view text) {
  size_t at = 1;
  const auto digits = [&] {
    const size_t begin = at;
    while (at < text.size() && absl::ascii_isdigit(static_cast<unsigned char>(text[at]))) ++at;
    return std::string(text.substr(begin, at - begin));
  };
  const std::string low = digits();
  const bool has_comma = at < text.size() && text[at] == ',';
  if (has_comma) ++at;
  const std::string high = has_comma ? digits() : "";
  if (at >= text.size() || text[at] != '}' || (low.empty() && high.empty())) return std::nullopt;
  Interval result;
  result.is_fixed = !has_comma;
  result.length = at + 1;
  result.text = absl::StrCat("{", low.empty() ? "0" : low, has_comma ? "," : "", high, "}");
  return result;
}

class Translator {
 public:
  Translator(std::string_view pattern, const RegexTarget& target)
      : pattern_(pattern), target_(target) {}

  absl::StatusOr<std::string> Run() {
    TESSERA_ASSIGN_OR_RETURN(std::string result, Alternatives(0));
    if (at_ < pattern_.size()) return Unsupported("a ')' has no '('");
    return result;
  }

 private:
  bool AtEnd() const { return at_ >= pattern_.size(); }
  bool Accept(std::string_view text) {
    if (pattern_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }

  // Up to the end or an unopened ')'.
  absl::StatusOr<std::string> Alternatives(int depth) {
    if (depth > kDepthMax) return Unsupported("groups are nested too deeply");
    std::string out;
    while (!AtEnd() && pattern_[at_] != ')') {
      if (Accept("|")) {
        out += '|';
        continue;
      }
      bool repeatable = true;
      TESSERA_ASSIGN_OR_RETURN(std::string atom, Atom(depth, &repeatable));
      if (repeatable) {
        TESSERA_RETURN_IF_ERROR(Repeats(&atom));
      }
      out += atom;
    }
    return out;
  }

  // The quantifiers behind an atom; each one repeats everything before it.
  absl::Status Repeats(std::string* atom) {
    bool is_repeated = false;
    while (!AtEnd()) {
      std::string quantifier;
      bool is_interval = false;
      bool is_fixed = false;
      const char c = pattern_[at_];
      if (c == '*' || c == '+' || c == '?') {
        quantifier = c;
        ++at_;
      } else if (c == '{') {
        const std::optional<Interval> interval = FindInterval(pattern_.substr(at_));
        if (!interval.has_value()) return absl::OkStatus();
        quantifier = interval->text;
        is_interval = true;
        is_fixed = interval->is_fixed;
        at_ += interval->length;
      } else {
        return absl::OkStatus();
      }
      if (is_repeated) *atom = absl::StrCat("(?:", *atom, ")");
      if (!is_fixed && Accept("?")) {
        quantifier += '?';
      } else if (!is_interval && Accept("+")) {
        quantifier += '+';
      }
      *atom += quantifier;
      if (atom->size() > kLengthMax) return Unsupported("it is too long");
      is_repeated = true;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Atom(int depth, bool* repeatable) {
    const char c = pattern_[at_];
    if (c == '(') {
      ++at_;
      return Group(depth, repeatable);
    }
    if (c == '[') {
      ++at_;
      return TranslateBracket(pattern_, &at_, target_, 0);
    }
    if (c == '\\') {
      ++at_;
      return Escape();
    }
    if (c == '*' || c == '+' || c == '?') return Unsupported("there is nothing to repeat");
    if (c == '.' || c == '^' || c == '$') {
      ++at_;
      return std::string(1, c);
    }
    return LiteralOf(NextCodePoint(pattern_, &at_));
  }

  absl::StatusOr<std::string> Escape() {
    if (AtEnd()) return Unsupported("it ends in a backslash");
    CharacterClass set;
    TESSERA_ASSIGN_OR_RETURN(const bool is_set, TranslateSetEscape(pattern_, &at_, target_, &set));
    if (is_set) return set.Expression(/*negated=*/false);
    const char c = pattern_[at_];
    constexpr std::string_view kSame = "AzZGRXN";  // anchors and \R \X \N mean the same in both
    if (kSame.find(c) != std::string_view::npos) {
      ++at_;
      return absl::StrCat("\\", std::string(1, c));
    }
    if (c == 'O') {
      ++at_;
      return std::string("(?s:.)");
    }
    if (c == 'b' || c == 'B') {
      ++at_;
      return WordBoundary(c == 'B');
    }
    TESSERA_ASSIGN_OR_RETURN(const char32_t literal, TranslateCharacterEscape(pattern_, &at_));
    return LiteralOf(literal);
  }

  // PCRE2's \b has another idea of words, so it is spelt out.
  std::string WordBoundary(bool negated) const {
    CharacterClass word;
    size_t at = 0;
    (void)TranslateSetEscape("w", &at, target_, &word);
    const std::string w = word.Expression(false);
    return negated ? absl::StrCat("(?:(?<=", w, ")(?=", w, ")|(?<!", w, ")(?!", w, "))")
                   : absl::StrCat("(?:(?<=", w, ")(?!", w, ")|(?<!", w, ")(?=", w, "))");
  }

  absl::StatusOr<std::string> Group(int depth, bool* repeatable) {
    if (Accept("?#")) {
      const size_t close = pattern_.find(')', at_);
      if (close == std::string_view::npos) return Unsupported("a comment is not closed");
      at_ = close + 1;
      *repeatable = false;
      return std::string();
    }
    std::string open;
    for (const std::string_view same : {"?:", "?=", "?!", "?>", "?<=", "?<!"}) {
      if (Accept(same)) {
        open = absl::StrCat("(", std::string(same));
        break;
      }
    }
    if (open.empty()) {
      if (Accept("?<") || Accept("?'")) {  // a name, of which nothing is used
        const char end = pattern_[at_ - 1] == '<' ? '>' : '\'';
        const size_t close = pattern_.find(end, at_);
        if (close == std::string_view::npos) return Unsupported("a group's name is not closed");
        at_ = close + 1;
        open = "(?:";
      } else if (Accept("?")) {
        TESSERA_ASSIGN_OR_RETURN(open, Options());
        if (pattern_[at_ - 1] == ')') {
          // (?i) holds to the end of the group it stands in, alternatives included.
          TESSERA_ASSIGN_OR_RETURN(std::string rest, Alternatives(depth + 1));
          *repeatable = false;
          return absl::StrCat(open, rest, ")");
        }
      } else {
        open = "(?:";
      }
    }
    TESSERA_ASSIGN_OR_RETURN(std::string inside, Alternatives(depth + 1));
    if (!Accept(")")) return Unsupported("a '(' is not closed");
    return absl::StrCat(open, inside, ")");
  }

  // "i", "m", "-i" and so on up to ':' or ')', as the opening of a PCRE2 group.
  absl::StatusOr<std::string> Options() {
    std::string open = "(?";
    while (!AtEnd()) {
      const char c = pattern_[at_++];
      if (c == ':' || c == ')') return open + ":";
      if (c == 'i' || c == '-') {
        open += c;
      } else if (c == 'm') {
        open += 's';
      } else {
        return Unsupported(absl::StrCat("(?", std::string(1, c), " is not supported"));
      }
    }
    return Unsupported("a '(' is not closed");
  }

  static constexpr size_t kLengthMax = size_t{1} << 20;

  const std::string_view pattern_;
  const RegexTarget& target_;
  size_t at_ = 0;
};

}  // namespace

absl::StatusOr<std::string> TranslateRegex(std::string_view pattern, const RegexTarget& target) {
  return Translator(pattern, target).Run();
}

}  // namespace tessera
