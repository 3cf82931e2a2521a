// What the CMake functions of the tree refuse, tried on small projects of their own.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/tidy/command.h"
#include "tests/tidy/layer_rules.h"

namespace tessera::tidy {
namespace {

using ::testing::HasSubstr;

void WriteFile(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

// A project in a folder of its own, which goes with the test.
class ProjectTest : public ::testing::Test {
 protected:
  ProjectTest()
      : folder_(std::filesystem::path(::testing::TempDir()) /
                absl::StrCat("tessera_", getpid(), "_",
                             ::testing::UnitTest::GetInstance()->current_test_info()->name())) {}
  ~ProjectTest() override { std::filesystem::remove_all(folder_); }

  // Configures a project of `libraries` (CMake text).
  CommandResult Configure(const std::string& languages, const std::string& libraries) {
    WriteFile(
        folder_ / "CMakeLists.txt",
        absl::StrCat("cmake_minimum_required(VERSION 3.25)\nproject(trial LANGUAGES ", languages,
                     ")\nset(CMAKE_CXX_STANDARD 20)\nadd_library(tessera_warnings INTERFACE)\n",
                     "include(", TESSERA_SOURCE_DIR, "/common/cmake/tessera_library.cmake)\n",
                     "include(", TESSERA_SOURCE_DIR, "/common/cmake/tessera_header_check.cmake)\n",
                     libraries));
    return RunCommand(absl::StrCat("'", TESSERA_CMAKE, "' -G Ninja -DCMAKE_CXX_COMPILER='",
                                   TESSERA_CXX, "' -S '", folder_.string(), "' -B '",
                                   (folder_ / "build").string(), "'"));
  }

  CommandResult BuildHeaders() {
    return RunCommand(absl::StrCat("'", TESSERA_CMAKE, "' --build '", (folder_ / "build").string(),
                                   "' --target tessera_headers"));
  }

  const std::filesystem::path folder_;
};

TEST_F(ProjectTest, ArrowsDownAreTaken) {
  const CommandResult result = Configure("NONE", R"(
tessera_library(NAME common_low LAYER 10)
tessera_library(NAME router_room LAYER 60 DEPS tessera::common_low)
tessera_library(NAME gateway_room LAYER 60 IMPL_DEPS tessera::common_low)
tessera_library(NAME cli_up LAYER 85 DEPS tessera::router_room tessera::gateway_room)
)");
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

TEST_F(ProjectTest, AnArrowUpIsRefused) {
  const CommandResult result = Configure("NONE", R"(
tessera_library(NAME common_high LAYER 20)
tessera_library(NAME common_low LAYER 10 DEPS tessera::common_high)
)");
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("(layer 10) may not use tessera::common_high (layer 20)"));
}

TEST_F(ProjectTest, AnArrowWithinALayerIsRefused) {
  const CommandResult result = Configure("NONE", R"(
tessera_library(NAME common_one LAYER 10)
tessera_library(NAME common_two LAYER 10 IMPL_DEPS tessera::common_one)
)");
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("(layer 10) may not use tessera::common_one (layer 10)"));
}

TEST_F(ProjectTest, AnArrowIntoAnotherHouseIsRefused) {
  const CommandResult result = Configure("NONE", R"(
tessera_library(NAME router_kv LAYER 55)
tessera_library(NAME gateway_room LAYER 60 DEPS tessera::router_kv)
)");
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("may not use tessera::router_kv: services meet only in"));
}

TEST_F(ProjectTest, AnUnknownLibraryIsRefused) {
  const CommandResult result =
      Configure("NONE", "tessera_library(NAME common_low LAYER 10 DEPS tessera::common_later)\n");
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("has not been added"));
}

TEST_F(ProjectTest, HeadersAreCompiledAlone) {
  WriteFile(folder_ / "common/good.h",
            "#pragma once\n#include <vector>\ninline std::vector<int> v;\n");
  // A header that its own source shows to compile alone is left to that, wrong as this one is.
  WriteFile(folder_ / "common/shown.h", "inline std::vector<int> w;\n");
  WriteFile(folder_ / "common/shown.cc", "#include \"common/shown.h\"\n");
  WriteFile(folder_ / "common/CMakeLists.txt",
            "tessera_library(NAME common_good LAYER 10 HDRS good.h shown.h SRCS shown.cc DEPS "
            "Threads::Threads)\n");
  const std::string project =
      absl::StrCat("find_package(Threads)\nadd_subdirectory(common)\ntessera_header_check(OUTPUT ",
                   folder_.string(), "/table.txt)\n");
  ASSERT_EQ(Configure("CXX", project).exit_code, 0);
  EXPECT_EQ(BuildHeaders().exit_code, 0);

  const std::vector<Library> libraries =
      ParseLibraryTable(ReadFile((folder_ / "table.txt").string()));
  ASSERT_EQ(libraries.size(), 1u);
  EXPECT_EQ(libraries[0].name, "tessera_common_good");
  EXPECT_EQ(libraries[0].layer, 10);
  EXPECT_EQ(libraries[0].house, "common");
  EXPECT_THAT(libraries[0].files,
              ::testing::ElementsAre("common/good.h", "common/shown.h", "common/shown.cc"));
  EXPECT_THAT(libraries[0].dependencies, ::testing::IsEmpty());

  WriteFile(folder_ / "common/good.h", "#pragma once\ninline std::vector<int> v;\n");
  EXPECT_NE(BuildHeaders().exit_code, 0) << "a header that needs another before it";
  WriteFile(folder_ / "common/good.h", "inline int twice = 0;\n");
  EXPECT_NE(BuildHeaders().exit_code, 0) << "a header that may not be included twice";
}

}  // namespace
}  // namespace tessera::tidy
