#pragma once

// A source file as the rules see it: what is code, what is comment, line by line.

#include <string>
#include <string_view>
#include <vector>

namespace tessera::tidy {

// Three texts of the same length in lines. In `code` the comments and the insides of string and
// character literals are blanks; in `comments` everything but the comments is. Columns are kept.
struct SourceText {
  std::string path;                   // from the root of the project, with '/'
  std::vector<std::string> lines;     // as written
  std::vector<std::string> code;      // the same count of lines
  std::vector<std::string> comments;  // the same count of lines

  bool is_header() const { return path.ends_with(".h"); }
  bool is_test() const { return path.starts_with("tests/"); }
};

// Understands line and block comments, escapes, raw strings and digit separators. Never fails: an
// unfinished literal ends with its line, an unfinished comment or raw string with the text.
SourceText ParseSource(std::string path, std::string_view text);

// `text` without blanks at its ends.
std::string_view Trimmed(std::string_view text);

struct Include {
  size_t line = 0;  // from 1
  bool quoted = false;
  std::string path;
};

// The includes of `source`, commented ones left out.
std::vector<Include> IncludesOf(const SourceText& source);

// Every file of the source folders (protos, services, common, deploy, helm, docker, tests) below
// `root` whose name ends with one of `endings`, sorted by path. Paths are relative to `root`.
std::vector<std::string> ListFiles(const std::string& root,
                                   const std::vector<std::string_view>& endings);

// The bytes of a file; stops the test program if it cannot be read.
std::string ReadFile(const std::string& path);

}  // namespace tessera::tidy
