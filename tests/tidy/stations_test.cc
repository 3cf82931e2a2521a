// "Life of a token" names a file and a function for every station: both must exist.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/tidy/source_text.h"

namespace tessera::tidy {
namespace {

const char kReadme[] = TESSERA_SOURCE_DIR "/services/README.md";

// The name behind the last ::, followed by what a definition or a class has there.
bool Defines(const std::string& text, const std::string& name) {
  const std::regex definition(absl::StrCat("(^|[^A-Za-z0-9_])", name, R"(\s*(\(|\{|final|:))"));
  return std::regex_search(text, definition);
}

TEST(StationsTest, FilesAndFunctionsExist) {
  const std::regex station(R"(^\| \d+ \|.*\| `([^`]+)` \| `([^`]+)` \|$)");
  size_t count = 0;
  const std::vector<std::string> lines = absl::StrSplit(ReadFile(kReadme), '\n');
  for (const std::string& line : lines) {
    std::smatch match;
    if (!std::regex_match(line, match, station)) continue;
    ++count;
    const std::string path = absl::StrCat(TESSERA_SOURCE_DIR "/services/", match[1].str());
    ASSERT_TRUE(std::filesystem::exists(path)) << line;
    EXPECT_TRUE(Defines(ReadFile(path), match[2].str())) << line;
  }
  EXPECT_GE(count, 25u);
}

// Names in the other tables are defined somewhere in the house.
TEST(StationsTest, WhatNoticesALossExists) {
  std::string all;
  for (const std::string& path : ListFiles(TESSERA_SOURCE_DIR, {".h", ".cc"})) {
    if (path.starts_with("services/")) {
      absl::StrAppend(&all, ReadFile(absl::StrCat(TESSERA_SOURCE_DIR "/", path)));
    }
  }
  const std::regex row(R"(^\| [^|`]+ \| `([^`]+)` \| [^|]+ \|$)");
  size_t count = 0;
  const std::vector<std::string> lines = absl::StrSplit(ReadFile(kReadme), '\n');
  for (const std::string& line : lines) {
    std::smatch match;
    if (!std::regex_match(line, match, row)) continue;
    ++count;
    const std::string name = match[1].str();
    const bool found = all.find(absl::StrCat(name, "(")) != std::string::npos ||
                       all.find(absl::StrCat("class ", name, " ")) != std::string::npos;
    EXPECT_TRUE(found) << line;
  }
  EXPECT_EQ(count, 8u);
}

}  // namespace
}  // namespace tessera::tidy
