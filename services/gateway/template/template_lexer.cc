#include "services/gateway/template/template_lexer.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace tessera::gateway {
namespace {

using Kind = TemplateToken::Kind;
constexpr std::string_view kBlanks = " \t";
constexpr std::string_view kSpaces = " \t\r\n\v\f";

bool IsNameStart(char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }
bool IsNamePart(char c) { return IsNameStart(c) || IsDigit(c); }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {
    if (!source_.empty() && source_.back() == '\n') source_.remove_suffix(1);
  }

  absl::StatusOr<std::vector<TemplateToken>> Run() {
    while (at_ < source_.size()) {
      const size_t tag = FindTag();
      AddText(tag);
      if (tag == source_.size()) break;
      TESSERA_RETURN_IF_ERROR(Tag());
    }
    tokens_.push_back({Kind::kEnd, "", line_});
    return std::move(tokens_);
  }

 private:
  bool StartsWith(std::string_view text) const { return source_.substr(at_, text.size()) == text; }

  size_t FindTag() const {
    for (size_t at = source_.find('{', at_); at != std::string_view::npos;
         at = source_.find('{', at + 1)) {
      const char next = at + 1 < source_.size() ? source_[at + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') return at;
    }
    return source_.size();
  }

  void MoveTo(size_t at) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                         source_.begin() + static_cast<ptrdiff_t>(at), '\n'));
    at_ = at;
  }

  // The text up to the tag at `tag`, less what the tags on both sides take.
  void AddText(size_t tag) {
    std::string_view text = source_.substr(at_, tag - at_);
    if (trim_ == Trim::kAll) {
      text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
    } else if (trim_ == Trim::kNewline) {
      if (text.substr(0, 2) == "\r\n") {
        text.remove_prefix(2);
      } else if (text.substr(0, 1) == "\n") {
        text.remove_prefix(1);
      }
    }
    const char mark = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const bool is_print = tag + 1 < source_.size() && source_[tag + 1] == '{';
    if (tag < source_.size() && mark == '-') {
      text = text.substr(0, text.find_last_not_of(kSpaces) + 1);
    } else if (tag < source_.size() && !is_print && mark != '+') {
      // Blanks go if nothing else stands between them and the beginning of the line.
      const size_t kept = text.find_last_not_of(kBlanks) + 1;
      const size_t begins_at = tag - (text.size() - kept);
      if (begins_at == 0 || source_[begins_at - 1] == '\n') text = text.substr(0, kept);
    }
    if (!text.empty()) tokens_.push_back({Kind::kText, std::string(text), line_});
    MoveTo(tag);
  }

  absl::Status Tag() {
    if (StartsWith("{#")) return Comment();
    const bool is_print = StartsWith("{{");
    const int line = line_;
    MoveTo(at_ + 2);
    if (StartsWith("-") || StartsWith("+")) MoveTo(at_ + 1);
    if (!is_print && BeginsRaw()) return Raw(line);
    tokens_.push_back({is_print ? Kind::kPrintBegin : Kind::kBlockBegin, "", line});
    const std::string_view close = is_print ? "}}" : "%}";
    depth_ = 0;
    while (true) {
      MoveTo(std::min(source_.find_first_not_of(kSpaces, at_), source_.size()));
      if (at_ == source_.size()) return TemplateError(line, "a tag is not closed");
      // "}" closes an open brace first: {{ {"a": {}}}}.
      const bool may_close = !is_print || depth_ == 0;
      if (StartsWith(close) && may_close) return CloseTag(is_print, /*mark=*/'\0');
      if ((StartsWith("-") || StartsWith("+")) && source_.substr(at_ + 1, 2) == close &&
          may_close) {
        const char mark = source_[at_];
        MoveTo(at_ + 1);
        return CloseTag(is_print, mark);
      }
      TESSERA_RETURN_IF_ERROR(Token());
    }
  }

  absl::Status CloseTag(bool is_print, char mark) {
    tokens_.push_back({is_print ? Kind::kPrintEnd : Kind::kBlockEnd, "", line_});
    MoveTo(at_ + 2);
    trim_ = mark == '-' ? Trim::kAll : is_print || mark == '+' ? Trim::kNone : Trim::kNewline;
    return absl::OkStatus();
  }

  absl::Status Comment() {
    const size_t close = source_.find("#}", at_ + 2);
    if (close == std::string_view::npos) return TemplateError(line_, "a comment is not closed");
    const char mark = close > at_ + 2 ? source_[close - 1] : '\0';
    trim_ = mark == '-' ? Trim::kAll : mark == '+' ? Trim::kNone : Trim::kNewline;
    MoveTo(close + 2);
    return absl::OkStatus();
  }

  // Whether the block tag whose inside begins here is {% NAME %}; *inside is what follows it.
  bool IsBlockTag(size_t at, std::string_view name, size_t* inside, char* mark) const {
    at = std::min(source_.find_first_not_of(kSpaces, at), source_.size());
    if (source_.substr(at, name.size()) != name) return false;
    at = std::min(source_.find_first_not_of(kSpaces, at + name.size()), source_.size());
    *mark = '\0';
    if (at < source_.size() && (source_[at] == '-' || source_[at] == '+')) *mark = source_[at++];
    if (source_.substr(at, 2) != "%}") return false;
    *inside = at + 2;
    return true;
  }

  bool BeginsRaw() const {
    size_t inside;
    char mark;
    return IsBlockTag(at_, "raw", &inside, &mark);
  }

  absl::Status Raw(int line) {
    size_t inside = 0;
    char mark = '\0';
    IsBlockTag(at_, "raw", &inside, &mark);
    for (size_t tag = source_.find("{%", inside); tag != std::string_view::npos;
         tag = source_.find("{%", tag + 2)) {
      size_t name = tag + 2;
      if (name < source_.size() && (source_[name] == '-' || source_[name] == '+')) ++name;
      size_t behind = 0;
      char end_mark = '\0';
      if (!IsBlockTag(name, "endraw", &behind, &end_mark)) continue;
      MoveTo(inside);
      trim_ = mark == '-' ? Trim::kAll : mark == '+' ? Trim::kNone : Trim::kNewline;
      AddText(tag);
      trim_ = end_mark == '-' ? Trim::kAll : end_mark == '+' ? Trim::kNone : Trim::kNewline;
      MoveTo(behind);
      return absl::OkStatus();
    }
    return TemplateError(line, "{% raw %} has no {% endraw %}");
  }

  absl::Status Token() {
    const char c = source_[at_];
    if (c == '"' || c == '\'') return String(c);
    size_t end = at_ + 1;
    if (IsNameStart(c)) {
      while (end < source_.size() && IsNamePart(source_[end])) ++end;
      Add(Kind::kName, end);
      return absl::OkStatus();
    }
    if (IsDigit(c)) return Number();
    for (const std::string_view two : {"//", "**", "==", "!=", "<=", ">="}) {
      if (StartsWith(two)) {
        Add(Kind::kOperator, at_ + 2);
        return absl::OkStatus();
      }
    }
    constexpr std::string_view kOne = "()[]{}.,:|~+-*/%=<>";
    if (kOne.find(c) == std::string_view::npos) {
      return TemplateError(line_, absl::StrCat("'", std::string(1, c), "' means nothing here"));
    }
    if (c == '{') ++depth_;
    if (c == '}') --depth_;
    Add(Kind::kOperator, end);
    return absl::OkStatus();
  }

  void Add(Kind kind, size_t end) {
    tokens_.push_back({kind, std::string(source_.substr(at_, end - at_)), line_});
    MoveTo(end);
  }

  absl::Status Number() {
    size_t end = at_;
    const auto digits = [&] {
      while (end < source_.size() && (IsDigit(source_[end]) || source_[end] == '_')) ++end;
    };
    digits();
    bool is_float = false;
    if (end + 1 < source_.size() && source_[end] == '.' && IsDigit(source_[end + 1])) {
      is_float = true;
      ++end;
      digits();
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '-' || source_[exponent] == '+'))
        ++exponent;
      if (exponent < source_.size() && IsDigit(source_[exponent])) {
        is_float = true;
        end = exponent;
        digits();
      }
    }
    Add(is_float ? Kind::kFloat : Kind::kInteger, end);
    std::string& text = tokens_.back().text;
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    return absl::OkStatus();
  }

  absl::Status String(char quote) {
    const int line = line_;
    std::string text;
    size_t at = at_ + 1;
    while (at < source_.size() && source_[at] != quote) {
      if (source_[at] != '\\' || at + 1 == source_.size()) {
        text += source_[at++];
        continue;
      }
      at += Escape(at, &text);
    }
    if (at >= source_.size()) return TemplateError(line, "a string is not closed");
    MoveTo(at + 1);
    tokens_.push_back({Kind::kString, std::move(text), line});
    return absl::OkStatus();
  }

  // Appends what the escape at `at` means; returns its length. Unknown ones mean themselves.
  size_t Escape(size_t at, std::string* text) const {
    const char c = source_[at + 1];
    constexpr std::string_view kNames = "\\'\"nrtbfva0";
    constexpr std::string_view kValues("\\'\"\n\r\t\b\f\v\a\0", 11);
    if (const size_t known = kNames.find(c); known != std::string_view::npos) {
      *text += kValues[known];
      return 2;
    }
    if (c == '\n') return 2;
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    const std::string_view hex = source_.substr(at + 2, digits);
    const bool is_hex =
        digits > 0 && hex.size() == digits && std::all_of(hex.begin(), hex.end(), [](char d) {
          return absl::ascii_isxdigit(static_cast<unsigned char>(d));
        });
    if (!is_hex) {
      *text += '\\';
      *text += c;
      return 2;
    }
    const auto value = static_cast<char32_t>(std::stoul(std::string(hex), nullptr, 16));
    const bool is_character = value < kCodePointEnd && (value < 0xD800 || value > 0xDFFF);
    AppendUtf8(is_character ? value : kReplacementCharacter, text);
    return 2 + digits;
  }

  enum class Trim : uint8_t { kNone, kNewline, kAll };

  std::string_view source_;
  size_t at_ = 0;
  int line_ = 1;
  int depth_ = 0;            // open braces inside the tag
  Trim trim_ = Trim::kNone;  // what the last tag takes of the text behind it
  std::vector<TemplateToken> tokens_;
};

}  // namespace

absl::Status TemplateError(int line, std::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", std::string(message)));
}

absl::StatusOr<std::vector<TemplateToken>> LexTemplate(std::string_view source) {
  return Lexer(source).Run();
}

}  // namespace tessera::gateway
