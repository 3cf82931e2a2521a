#include "tests/tidy/source_text.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "common/base/check.h"

namespace tessera::tidy {
namespace {

bool IsWordCharacter(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// Walks the text once and says of each byte whether it is code, comment or inside of a literal.
class Splitter {
 public:
  explicit Splitter(std::string_view text)
      : text_(text), code_(text.size(), ' '), comments_(text.size(), ' ') {}

  void Run() {
    while (at_ < text_.size()) Step();
    for (size_t i = 0; i < text_.size(); ++i) {
      if (text_[i] == '\n') code_[i] = comments_[i] = '\n';
    }
  }
  const std::string& code() const { return code_; }
  const std::string& comments() const { return comments_; }

 private:
  void Step() {
    const std::string_view rest = text_.substr(at_);
    if (rest.starts_with("//")) return Comment(text_.find('\n', at_));
    if (rest.starts_with("/*")) return Comment(AfterNext("*/", at_ + 2));
    if (rest.starts_with("R\"") && (at_ == 0 || !IsWordCharacter(text_[at_ - 1]))) {
      return RawString();
    }
    if (rest[0] == '"' || (rest[0] == '\'' && !IsDigitSeparator())) return Literal(rest[0]);
    code_[at_] = text_[at_];
    ++at_;
  }

  // 1'000'000: a quote in a word that begins with a digit.
  bool IsDigitSeparator() const {
    size_t begin = at_;
    while (begin > 0 && (IsWordCharacter(text_[begin - 1]) || text_[begin - 1] == '\'')) --begin;
    return begin < at_ && std::isdigit(static_cast<unsigned char>(text_[begin]));
  }

  size_t AfterNext(std::string_view what, size_t from) const {
    const size_t found = text_.find(what, from);
    return found == std::string_view::npos ? found : found + what.size();
  }

  void Comment(size_t end) {
    end = std::min(end, text_.size());
    std::copy(text_.begin() + at_, text_.begin() + end, comments_.begin() + at_);
    at_ = end;
  }

  void Literal(char quote) {
    code_[at_++] = quote;
    while (at_ < text_.size() && text_[at_] != quote && text_[at_] != '\n') {
      at_ += text_[at_] == '\\' ? 2 : 1;
    }
    if (at_ < text_.size() && text_[at_] == quote) code_[at_++] = quote;
  }

  void RawString() {
    const size_t open = text_.find('(', at_);
    const std::string_view mark = text_.substr(at_ + 2, open - at_ - 2);
    const size_t end = std::min(AfterNext(")" + std::string(mark) + "\"", open), text_.size());
    code_[at_] = 'R';
    code_[at_ + 1] = code_[end - 1] = '"';
    at_ = end;
  }

  std::string_view text_;
  std::string code_;
  std::string comments_;
  size_t at_ = 0;
};

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())))
    text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())))
    text.remove_suffix(1);
  return text;
}

SourceText ParseSource(std::string path, std::string_view text) {
  Splitter splitter(text);
  splitter.Run();
  return {.path = std::move(path),
          .lines = Lines(text),
          .code = Lines(splitter.code()),
          .comments = Lines(splitter.comments())};
}

std::vector<Include> IncludesOf(const SourceText& source) {
  static const std::regex pattern(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  std::vector<Include> includes;
  std::smatch match;
  for (size_t i = 0; i < source.lines.size(); ++i) {
    const bool code = source.code[i].find('#') != std::string::npos;
    if (code && std::regex_search(source.lines[i], match, pattern)) {
      includes.push_back({.line = i + 1, .quoted = match[1] == "\"", .path = match[2]});
    }
  }
  return includes;
}

std::vector<std::string> ListFiles(const std::string& root,
                                   const std::vector<std::string_view>& endings) {
  std::vector<std::string> paths;
  for (const char* folder :
       {"protos", "services", "common", "deploy", "helm", "docker", "tests", ".ci"}) {
    const std::filesystem::path top = std::filesystem::path(root) / folder;
    if (!std::filesystem::is_directory(top)) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(top)) {
      const std::string path = entry.path().lexically_relative(root).generic_string();
      const bool wanted = std::any_of(endings.begin(), endings.end(),
                                      [&](std::string_view end) { return path.ends_with(end); });
      if (wanted && entry.is_regular_file()) paths.push_back(path);
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  TESSERA_CHECK(file.is_open());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace tessera::tidy
