// The rules over the whole tree: one test a rule, every finding printed.

#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "tests/tidy/layer_rules.h"
#include "tests/tidy/rules.h"
#include "tests/tidy/source_text.h"

namespace tessera::tidy {
namespace {

const std::string& Root() {
  static const std::string root = TESSERA_SOURCE_DIR;
  return root;
}

template <typename Rule>
void ExpectKept(const Rule& rule) {
  const std::vector<std::string> paths = ListFiles(Root(), {".h", ".cc", ".cu"});
  ASSERT_FALSE(paths.empty());
  for (const std::string& path : paths) {
    for (const Finding& finding :
         rule(ParseSource(path, ReadFile(absl::StrCat(Root(), "/", path))))) {
      ADD_FAILURE() << finding.path << ":" << finding.line << ": " << finding.text;
    }
  }
}

TEST(TreeTest, FunctionLength) { ExpectKept(CheckFunctionLength); }
TEST(TreeTest, FileLength) { ExpectKept(CheckFileLength); }
TEST(TreeTest, PragmaOnce) { ExpectKept(CheckPragmaOnce); }
TEST(TreeTest, IncludeDoors) { ExpectKept(CheckIncludeDoors); }
TEST(TreeTest, Clocks) { ExpectKept(CheckClocks); }
TEST(TreeTest, Names) { ExpectKept(CheckNames); }
TEST(TreeTest, Todos) { ExpectKept(CheckTodos); }
TEST(TreeTest, Sleeps) { ExpectKept(CheckSleeps); }

bool ExistsInTree(const std::string& path) {
  return std::filesystem::exists(absl::StrCat(Root(), "/", path));
}

TEST(TreeTest, IncludePaths) {
  ExpectKept([](const SourceText& source) { return CheckIncludePaths(source, ExistsInTree); });
}

TEST(TreeTest, OwnHeaderFirst) {
  ExpectKept([](const SourceText& source) { return CheckOwnHeaderFirst(source, ExistsInTree); });
}

TEST(TreeTest, IncludeLayers) {
  const std::vector<Library> libraries = ParseLibraryTable(ReadFile(TESSERA_LIBRARY_TABLE));
  ASSERT_FALSE(libraries.empty());
  ExpectKept([&](const SourceText& source) { return CheckIncludeLayers(source, libraries); });
}

TEST(TreeTest, NamedByCMake) {
  ExpectKept([](const SourceText& source) {
    const std::filesystem::path folder =
        std::filesystem::path(absl::StrCat(Root(), "/", source.path)).parent_path();
    const std::string lists = (folder / "CMakeLists.txt").string();
    return CheckNamedByCMake(source.path, std::filesystem::exists(lists) ? ReadFile(lists) : "");
  });
}

TEST(TreeTest, MachinePaths) {
  std::vector<std::string> paths =
      ListFiles(Root(), {".h", ".cc", ".cu", ".proto", ".md", ".txt", ".cmake", ".json", ".yaml",
                         ".py", ".sh", ".ci/run", "Dockerfile"});
  for (const char* file : {"tessera", "CMakeLists.txt", "CMakePresets.json", "README.md",
                           "CONTRIBUTING.md", "CHANGELOG.md", ".clang-tidy", ".clang-format"}) {
    if (std::filesystem::exists(absl::StrCat(Root(), "/", file))) paths.push_back(file);
  }
  for (const std::string& path : paths) {
    for (const Finding& finding :
         CheckMachinePaths(path, ReadFile(absl::StrCat(Root(), "/", path)))) {
      ADD_FAILURE() << finding.path << ":" << finding.line << ": " << finding.text;
    }
  }
}

// A test stands where the code it tests stands, below tests/.
TEST(TreeTest, TestsMirrorTheTree) {
  for (const std::string& path : ListFiles(Root(), {"_test.cc"})) {
    const bool mirrors = path.starts_with("tests/common/") || path.starts_with("tests/services/");
    if (!mirrors) continue;
    const std::string folder =
        std::filesystem::path(path.substr(std::string("tests/").size())).parent_path().string();
    EXPECT_TRUE(std::filesystem::is_directory(absl::StrCat(Root(), "/", folder)))
        << path << ": there is no " << folder;
  }
}

}  // namespace
}  // namespace tessera::tidy
