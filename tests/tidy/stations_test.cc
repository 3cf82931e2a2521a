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

// `name`, whole and with its class if it has one, followed by what a function or a class has there,
// in a line that begins at the margin: a call is indented, for it stands in a body.
bool Defines(const std::string& text, const std::string& name) {
  const std::regex definition(
      absl::StrCat("([^ /].*[^A-Za-z0-9_:])?", name, R"((\(| \{| final\b| :).*)"));
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    const bool has_name = line.find(name) != std::string::npos;
    if (has_name && std::regex_match(line, definition)) return true;
  }
  return false;
}

TEST(StationsTest, ACallIsNoDefinition) {
  EXPECT_TRUE(Defines("absl::Status Model::Embed(int a,\n", "Model::Embed"));
  EXPECT_TRUE(Defines("Model::Embed(int a) {\n", "Model::Embed"));
  EXPECT_TRUE(Defines("class Model final : public Base {\n", "Model"));
  EXPECT_TRUE(Defines("struct Model {\n", "Model"));
  EXPECT_TRUE(Defines("\nint Prepare(int a) {\n", "Prepare"));
  EXPECT_FALSE(Defines("  Prepare(7);\n", "Prepare"));
  EXPECT_FALSE(Defines("  model.Embed(7);\n", "Model::Embed"));
  EXPECT_FALSE(Defines("void Model::EmbedAll() {\n  Embed(7);\n", "Model::Embed"));
  EXPECT_FALSE(Defines("void Other::Embed(int a) {\n", "Model::Embed"));
  EXPECT_FALSE(Defines("void OtherModel::Embed(int a) {\n", "Model::Embed"));
  EXPECT_FALSE(Defines("// void Model::Embed(int a)\n", "Model::Embed"));
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
