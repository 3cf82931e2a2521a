// clang-format has nothing to change in any source.

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/tidy/command.h"
#include "tests/tidy/source_text.h"

namespace tessera::tidy {
namespace {

// The program and version this tree is formatted with; empty if it is not installed. Another
// version prints other lines.
std::string FormatterOf14() {
  for (const char* name : {"clang-format-14", "clang-format"}) {
    const CommandResult version = RunCommand(absl::StrCat(name, " --version"));
    if (version.exit_code == 0 && absl::StrContains(version.output, "version 14.")) return name;
  }
  return "";
}

TEST(FormatTest, EverySourceIsFormatted) {
  const std::string formatter = FormatterOf14();
  if (formatter.empty()) {
    GTEST_SKIP() << "SKIPPED: the format is not checked, clang-format 14 is not installed";
  }
  std::string command = absl::StrCat("cd '", TESSERA_SOURCE_DIR, "' && ", formatter,
                                     " --dry-run -Werror --ferror-limit=1");
  for (const std::string& path : ListFiles(TESSERA_SOURCE_DIR, {".h", ".cc", ".cu"})) {
    absl::StrAppend(&command, " '", path, "'");
  }
  const CommandResult result = RunCommand(command);
  EXPECT_EQ(result.exit_code, 0) << "run clang-format -i on these:\n" << result.output;
}

TEST(FormatTest, AnUnformattedSourceIsRefused) {
  const std::string formatter = FormatterOf14();
  if (formatter.empty()) GTEST_SKIP() << "SKIPPED: clang-format 14 is not installed";
  const auto format = [&](const std::string& text) {
    return RunCommand(absl::StrCat("cd '", TESSERA_SOURCE_DIR, "' && printf '", text, "' | ",
                                   formatter, " --assume-filename=x.cc --dry-run -Werror"));
  };
  EXPECT_EQ(format("int x = 1;\\n").exit_code, 0);
  EXPECT_NE(format("int  x=1 ;\\n").exit_code, 0);
}

}  // namespace
}  // namespace tessera::tidy
