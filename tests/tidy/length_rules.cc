#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/tidy/rules.h"

namespace tessera::tidy {
namespace {

constexpr size_t kFunctionLinesMax = 70;
constexpr size_t kHeaderLinesMax = 250;
constexpr size_t kSourceLinesMax = 500;

bool BeginsWithWord(std::string_view text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  return text.size() == word.size() || !absl::ascii_isalnum(text[word.size()]);
}

// The rest of `head` behind template <...>.
std::string_view WithoutTemplate(std::string_view head) {
  if (!BeginsWithWord(head, "template")) return head;
  int depth = 0;
  for (size_t i = 0; i < head.size(); ++i) {
    if (head[i] == '<') ++depth;
    if (head[i] == '>' && --depth == 0) return Trimmed(head.substr(i + 1));
  }
  return head;
}

// Whether the brace after `head` opens a namespace or a class, and not a function that names one.
bool OpensScope(std::string_view head) {
  head = WithoutTemplate(Trimmed(head));
  for (const std::string_view word : {"class", "struct", "union"}) {
    if (BeginsWithWord(head, word)) return !head.ends_with(')') && !head.ends_with(" const");
  }
  return BeginsWithWord(head, "namespace") || BeginsWithWord(head, "inline namespace") ||
         BeginsWithWord(head, "extern \"");
}

// Follows the braces of formatted code. At namespace or class level the text since the last ; { or
// } tells what a brace opens: a scope whose inside is looked into, or a function, whose inside is
// not.
class FunctionScanner {
 public:
  explicit FunctionScanner(const SourceText& source) : source_(source) {}

  Findings Run() {
    bool directive = false;  // in a preprocessor line or the continuation of one
    for (line_ = 0; line_ < source_.code.size(); ++line_) {
      const std::string_view code = source_.code[line_];
      directive = directive || Trimmed(code).starts_with('#');
      if (!directive) {
        for (const char c : code) Take(c);
        Take(' ');
      }
      directive = directive && code.ends_with('\\');
    }
    return std::move(findings_);
  }

 private:
  void Take(char c) {
    if (c == '{') return Open();
    if (c == '}') return Close();
    if (depth_ > 0) return;
    if (c == ';') return head_.clear();
    if (head_.empty() && absl::ascii_isspace(c)) return;
    if (head_.empty()) head_line_ = line_;
    head_.push_back(c);
    if (head_ == "public:" || head_ == "private:" || head_ == "protected:") head_.clear();
  }

  void Open() {
    if (depth_ == 0 && OpensScope(head_)) return head_.clear();
    if (depth_ == 0) {
      // The format puts a blank before the brace of a body and none before that of a_{1} in a
      // constructor's list, behind which the head goes on.
      initializer_ = !head_.empty() && !absl::ascii_isspace(head_.back());
    }
    ++depth_;
  }

  void Close() {
    if (depth_ == 0) return head_.clear();  // the end of a namespace or a class
    if (--depth_ > 0 || initializer_) return;
    const size_t length = line_ - head_line_ + 1;
    const bool table = Trimmed(head_).ends_with('=');
    if (absl::StrContains(head_, '(') && !table && length > kFunctionLinesMax) {
      findings_.push_back({source_.path, head_line_ + 1,
                           absl::StrCat("a function of ", length, " lines; at most ",
                                        kFunctionLinesMax, ", split it by idea")});
    }
    head_.clear();
  }

  const SourceText& source_;
  Findings findings_;
  std::string head_;          // code since the last ; { or } at the level of scopes
  size_t head_line_ = 0;      // where it begins
  size_t line_ = 0;           // where the scan is
  size_t depth_ = 0;          // open braces from a function's or an initializer's on
  bool initializer_ = false;  // the outermost of them is an initializer's
};

}  // namespace

Findings CheckFunctionLength(const SourceText& source) { return FunctionScanner(source).Run(); }

Findings CheckFileLength(const SourceText& source) {
  const size_t lines_max = source.is_header() ? kHeaderLinesMax : kSourceLinesMax;
  if (source.lines.size() <= lines_max) return {};
  return {{source.path, lines_max + 1,
           absl::StrCat(source.lines.size(), " lines; at most ", lines_max, ", split it by idea")}};
}

}  // namespace tessera::tidy
