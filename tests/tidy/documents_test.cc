// What the documents point to exists: files and sections behind links, files named in code spans,
// metrics.

#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/tidy/source_text.h"

namespace tessera::tidy {
namespace {

namespace fs = std::filesystem;

const std::string kRoot = TESSERA_SOURCE_DIR "/";

std::vector<std::string> Documents() {
  std::vector<std::string> paths = ListFiles(TESSERA_SOURCE_DIR, {".md"});
  paths.insert(paths.end(), {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"});
  return paths;
}

// The first group of every match.
std::vector<std::string> Matches(const std::string& text, const char* pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it) {
    found.push_back((*it)[1].str());
  }
  return found;
}

// As sites that show Markdown name the sections of a document.
std::set<std::string> Anchors(const std::string& text) {
  std::set<std::string> anchors;
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (const std::string& line : lines) {
    const size_t level = line.find_first_not_of('#');
    if (level == 0 || level == std::string::npos || line[level] != ' ') continue;
    std::string anchor;
    for (const char c : line.substr(level + 1)) {
      if (c == ' ') anchor += '-';
      if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_') {
        anchor += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      }
    }
    anchors.insert(anchor);
  }
  return anchors;
}

TEST(DocumentsTest, LinksLeadSomewhere) {
  size_t count = 0;
  for (const std::string& document : Documents()) {
    const std::string text = ReadFile(kRoot + document);
    for (const std::string& link : Matches(text, R"(\]\(([^)\s]+)\))")) {
      if (link.starts_with("http")) continue;
      ++count;
      const std::vector<std::string> parts = absl::StrSplit(link, absl::MaxSplits('#', 1));
      const fs::path target = parts[0].empty()
                                  ? fs::path(kRoot + document)
                                  : fs::path(kRoot + document).parent_path() / parts[0];
      EXPECT_TRUE(fs::exists(target)) << document << " links to " << link;
      if (parts.size() < 2 || target.extension() != ".md" || !fs::exists(target)) continue;
      EXPECT_TRUE(Anchors(ReadFile(target.string())).contains(parts[1]))
          << document << " links to " << link;
    }
  }
  EXPECT_GE(count, 50u);
}

// `common/moe/dispatch_plan.cc`, from the root or from where the document lies.
TEST(DocumentsTest, FilesThatAreNamedExist) {
  size_t count = 0;
  for (const std::string& document : Documents()) {
    const fs::path folder = fs::path(kRoot + document).parent_path();
    const char* const named =
        R"(`((?:protos|services|common|deploy|helm|docker|tests)/[A-Za-z0-9_./-]*)`)";
    for (const std::string& path : Matches(ReadFile(kRoot + document), named)) {
      // What CONTRIBUTING.md shows as an example of a name is one that exists, too.
      ++count;
      EXPECT_TRUE(fs::exists(kRoot + path) || fs::exists(folder / path))
          << document << " names " << path;
    }
  }
  EXPECT_GE(count, 40u);
}

TEST(DocumentsTest, MetricsOfTheRunbookAreExported) {
  const std::vector<std::string> rows =
      Matches(ReadFile(kRoot + "deploy/metrics.md"), R"(\| `(\w+)` \|)");
  const std::set<std::string> exported(rows.begin(), rows.end());
  const std::vector<std::string> named =
      Matches(ReadFile(kRoot + "deploy/runbook.md"), R"(`(tessera_[a-z0-9_]+))");
  EXPECT_GE(named.size(), 20u);
  for (const std::string& name : named) EXPECT_TRUE(exported.contains(name)) << name;
}

}  // namespace
}  // namespace tessera::tidy
