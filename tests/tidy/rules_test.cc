// Each rule finds what it forbids, and leaves alone what only looks like it.

#include "tests/tidy/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/tidy/layer_rules.h"
#include "tests/tidy/source_text.h"

namespace tessera::tidy {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<size_t> LinesOf(const Findings& findings) {
  std::vector<size_t> lines;
  for (const Finding& finding : findings) lines.push_back(finding.line);
  return lines;
}

std::string Repeated(std::string_view text, size_t count) {
  std::string all;
  for (size_t i = 0; i < count; ++i) all += text;
  return all;
}

TEST(SourceTextTest, SplitsCodeFromComments) {
  const SourceText source =
      ParseSource("a.cc", "int a = 1'000;  // one \"two\n/* x\ny */ char c = '\\'';\n");
  EXPECT_THAT(source.code,
              ElementsAre("int a = 1'000;             ", "    ", "     char c = '  ';"));
  EXPECT_THAT(source.comments,
              ElementsAre("                // one \"two", "/* x", "y */               "));
}

TEST(SourceTextTest, BlanksLiterals) {
  const SourceText source =
      ParseSource("a.cc", "f(\"a // b\\\"\", R\"x(/* \" )\")x\", 2);  // c\n");
  EXPECT_THAT(source.code, ElementsAre("f(\"        \", R\"           \", 2);      "));
}

TEST(SourceTextTest, UnfinishedTextIsNoTrouble) {
  for (const char* text : {"\"", "'", "/*", "//", "R\"(", "R\"x", "\\", "\"\\", "1'", ""}) {
    const SourceText source = ParseSource("a.cc", text);
    EXPECT_EQ(source.code.size(), source.lines.size()) << text;
  }
}

Findings LengthOf(const std::string& text) {
  return CheckFunctionLength(ParseSource("a.cc", text));
}

TEST(FunctionLengthTest, SeventyLinesAreAllowedAndNoMore) {
  const auto function = [](size_t lines) {
    return absl::StrCat("namespace a {\n\nint F(int x) {\n", Repeated("  ++x;\n", lines - 2),
                        "}\n\n}\n");
  };
  EXPECT_THAT(LengthOf(function(70)), IsEmpty());
  EXPECT_THAT(LinesOf(LengthOf(function(71))), ElementsAre(3));
}

TEST(FunctionLengthTest, SeesEveryKindOfFunction) {
  const std::string body = absl::StrCat(" {\n", Repeated("  { g(\"}\"); }  // {\n", 70), "}\n");
  for (const char* head :
       {"void F()", "template <typename T>\nstd::vector<T> F(T a,\n  T b)", "TEST(A, B)",
        "class A {\n public:\n  A() : a_{1}, b_(2)", "struct A {\n  bool operator()(int x) const",
        "struct stat F(int x)", "auto f = [](int x)", "extern \"C\" {\nvoid F()",
        "template <class T>\nclass A {\n  void F() &&", "void A::F() noexcept"}) {
    EXPECT_EQ(LengthOf(head + body).size(), 1u) << head;
  }
}

TEST(FunctionLengthTest, WhatIsNoFunctionMayBeLong) {
  const std::string lines = Repeated("  int a;\n", 80);
  for (const char* head :
       {"namespace a::b {\n", "class A : public B<int(int)> {\n public:\n", "struct A {\n",
        "template <typename T>\nclass A {\n", "enum class E {\n", "constexpr int kTable[] = {\n",
        "const std::function<int(int)> f = {\n"}) {
    EXPECT_THAT(LengthOf(absl::StrCat(head, lines, "};\n")), IsEmpty()) << head;
  }
  EXPECT_THAT(
      LengthOf(absl::StrCat("#define A(x) { \\\n", Repeated("  x \\\n", 80), "\nvoid F() {}\n")),
      IsEmpty());
}

TEST(FunctionLengthTest, EachFunctionIsCountedByItself) {
  const std::string function = absl::StrCat("void F() {\n", Repeated("  g();\n", 60), "}\n");
  EXPECT_THAT(LengthOf(Repeated(function, 3)), IsEmpty());
}

TEST(FileLengthTest, HeadersAndSourcesHaveTheirOwnLimit) {
  const auto lines = [](std::string path, size_t count) {
    return CheckFileLength(ParseSource(std::move(path), Repeated("\n", count)));
  };
  EXPECT_THAT(lines("a.h", 250), IsEmpty());
  EXPECT_THAT(lines("a.h", 251), ::testing::SizeIs(1));
  EXPECT_THAT(lines("a.cc", 500), IsEmpty());
  EXPECT_THAT(lines("a.cc", 501), ::testing::SizeIs(1));
}

TEST(PragmaOnceTest, IsTheFirstLineOfAHeader) {
  EXPECT_THAT(CheckPragmaOnce(ParseSource("a.h", "// A.\n\n#pragma once\nint a;\n")), IsEmpty());
  EXPECT_THAT(LinesOf(CheckPragmaOnce(ParseSource("a.h", "#ifndef A_H\n#pragma once\n"))),
              ElementsAre(1));
  EXPECT_THAT(LinesOf(CheckPragmaOnce(ParseSource("a.h", "// #pragma once\n"))), ElementsAre(1));
  EXPECT_THAT(CheckPragmaOnce(ParseSource("a.cc", "int a;\n")), IsEmpty());
}

TEST(IncludePathsTest, BeginAtTheRoot) {
  const auto check = [](const std::string& text) {
    return LinesOf(
        CheckIncludePaths(ParseSource("common/a/b.cc", text),
                          [](const std::string& path) { return path == "common/a/b.h"; }));
  };
  EXPECT_THAT(check("#include \"common/a/b.h\"\n#include <vector>\n#include \"absl/time/time.h\"\n"
                    "#include \"tessera/v1/expert.pb.h\"\n// #include \"b.h\"\n"),
              IsEmpty());
  EXPECT_THAT(check("#include \"b.h\"\n"), ElementsAre(1));
  EXPECT_THAT(check("\n#include \"../a/b.h\"\n"), ElementsAre(2));
  EXPECT_THAT(check("#include \"common/../common/a/b.h\"\n"), ElementsAre(1));
  EXPECT_THAT(check("#include \"common/a/gone.h\"\n"), ElementsAre(1));
  EXPECT_THAT(check("#include <common/a/b.h>\n"), ElementsAre(1));
}

TEST(OwnHeaderFirstTest, ShowsThatItCompilesAlone) {
  const auto check = [](const std::string& path, const std::string& text) {
    return LinesOf(CheckOwnHeaderFirst(ParseSource(path, text), [](const std::string& header) {
      return header == "common/a/b.h";
    }));
  };
  EXPECT_THAT(check("common/a/b.cc", "// B.\n#include \"common/a/b.h\"\n#include <vector>\n"),
              IsEmpty());
  EXPECT_THAT(check("common/a/b.cc", "#include <vector>\n#include \"common/a/b.h\"\n"),
              ElementsAre(1));
  EXPECT_THAT(check("common/a/b.cc", "// #include \"common/a/b.h\"\n"), ElementsAre(1));
  EXPECT_THAT(check("common/a/c.cc", "#include <vector>\n"), IsEmpty());
  EXPECT_THAT(check("common/a/b.h", "#include <vector>\n"), IsEmpty());
}

TEST(IncludeDoorsTest, EveryDoorIsGuarded) {
  struct Case {
    const char* include;
    std::vector<const char*> allowed;
    std::vector<const char*> refused;
  };
  const Case cases[] = {
      {"\"tessera/v1/expert.pb.h\"",
       {"common/wire/a.h", "services/gateway/api/a.cc", "services/router/router_config.cc",
        "tests/common/wire/a_test.cc", "tests/cluster/a_test.cc"},
       {"common/moe/a.h", "services/router/engine/a.cc", "tests/common/moe/a_test.cc"}},
      {"\"tessera/v1/expert.grpc.pb.h\"",
       {"common/transport/a.cc", "services/router/edge/a.h"},
       {"common/wire/a.h", "services/gateway/api/a.cc", "services/router/router_config.cc"}},
      {"<grpcpp/grpcpp.h>",
       {"common/rpc/a.h", "services/gateway/upstream/a.cc", "tests/support/a.cc"},
       {"common/config/a.h", "services/router/engine/a.cc"}},
      {"<cuda_runtime.h>",
       {"common/device/a.cc", "common/kernels/a_cuda.cu"},
       {"common/kernels/a.cc"}},
      {"<ucp/api/ucp.h>", {"common/transport/a.cc"}, {"services/router/dispatch/a.cc"}},
      {"<nccl.h>", {"common/transport/a.cc"}, {"common/device/a.cc"}},
      {"<prometheus/counter.h>", {"common/metrics/a.cc"}, {"services/router/engine/a.cc"}},
      {"<thread>",
       {"common/concurrency/a.h", "tests/common/concurrency/a_test.cc"},
       {"common/rpc/a.h", "tests/common/rpc/a_test.cc"}},
      {"<mutex>", {"common/concurrency/a.h"}, {"common/base/a.cc"}},
      {"<condition_variable>", {"common/concurrency/a.h"}, {"common/base/a.cc"}},
      {"<nlohmann/json.hpp>", {"common/json/a.cc"}, {"common/base/a.cc"}},
      {"<spdlog/spdlog.h>", {"common/base/log.cc"}, {"common/json/a.cc"}},
  };
  for (const Case& one : cases) {
    const std::string text = absl::StrCat("#include ", one.include, "\n");
    for (const char* path : one.allowed) {
      EXPECT_THAT(CheckIncludeDoors(ParseSource(path, text)), IsEmpty()) << one.include << path;
    }
    for (const char* path : one.refused) {
      EXPECT_THAT(LinesOf(CheckIncludeDoors(ParseSource(path, text))), ElementsAre(1))
          << one.include << path;
    }
  }
}

TEST(IncludeLayersTest, AnIncludeNeedsADependency) {
  const std::vector<Library> libraries = ParseLibraryTable(
      "tessera_common_base|0|common|common/base|a.h|a.cc|absl::status\n"
      "tessera_common_tensor|10|common|common/tensor|b.h||tessera::common_base\n"
      "tessera_common_moe|30|common|common/moe|c.h|c.cc|tessera::common_tensor\n");
  const auto check = [&](const char* path, const char* text) {
    return LinesOf(CheckIncludeLayers(ParseSource(path, text), libraries));
  };
  EXPECT_THAT(
      check("common/moe/c.cc",
            "#include \"common/moe/c.h\"\n#include \"common/base/a.h\"\n#include <vector>\n"),
      IsEmpty());
  EXPECT_THAT(
      check("common/base/a.cc", "#include \"common/base/a.h\"\n#include \"common/tensor/b.h\"\n"),
      ElementsAre(2));
  EXPECT_THAT(check("services/router/main.cc", "#include \"common/moe/c.h\"\n"), IsEmpty());
  EXPECT_THAT(check("tests/common/base/a_test.cc", "#include \"common/moe/c.h\"\n"), IsEmpty());
}

TEST(NamedByCMakeTest, AFileBelongsToATarget) {
  const std::string lists = "tessera_library(NAME common_a LAYER 1\n  HDRS a.h bb.h SRCS c.cc)\n";
  EXPECT_THAT(CheckNamedByCMake("common/a/a.h", lists), IsEmpty());
  EXPECT_THAT(CheckNamedByCMake("common/a/c.cc", lists), IsEmpty());
  EXPECT_THAT(CheckNamedByCMake("common/a/b.h", lists), ::testing::SizeIs(1));
  EXPECT_THAT(CheckNamedByCMake("services/a/a.h", ""), ::testing::SizeIs(1));
  EXPECT_THAT(CheckNamedByCMake("tests/tidy/a.h", ""), IsEmpty());
}

TEST(ClocksTest, OnlyClockCcReadsThem) {
  for (const char* text : {"auto t = std::chrono::steady_clock::now();", "absl::Now()",
                           "time(nullptr)", "clock_gettime(CLOCK_MONOTONIC, &t);"}) {
    EXPECT_THAT(CheckClocks(ParseSource("common/rpc/a.cc", text)), ::testing::SizeIs(1)) << text;
    EXPECT_THAT(CheckClocks(ParseSource("common/base/clock.cc", text)), IsEmpty()) << text;
  }
  EXPECT_THAT(CheckClocks(ParseSource("a.cc", "clock.Now(); step_time(0); // absl::Now()")),
              IsEmpty());
}

TEST(NamesTest, EmptyWordsAreRefusedInHeaders) {
  for (const char* text :
       {"class FileManager {", "struct StringUtils;", "class Helper {", "void HandleFrame(int x);",
        "  static int Process();", "absl::Status GetRows() const;", "  void Do();",
        "using RowHelper = int;", "enum class FrameHandler {"}) {
    EXPECT_THAT(CheckNames(ParseSource("common/a/a.h", text)), ::testing::SizeIs(1)) << text;
    EXPECT_THAT(CheckNames(ParseSource("common/a/a.cc", text)), IsEmpty()) << text;
  }
  for (const char* text :
       {"class Utilisation {", "int Dot(int a);", "void Download();", "return reader.GetSize();",
        "grpc::Status GetInfo(int x) override;", "// The Manager of Get()", "struct Processed {",
        "x = file->Get();", "double Getaway();"}) {
    EXPECT_THAT(CheckNames(ParseSource("common/a/a.h", text)), IsEmpty()) << text;
  }
  EXPECT_THAT(CheckNames(ParseSource("common/a/string_util.h", "int a;")), ::testing::SizeIs(1));
}

TEST(TodosTest, NeedANumber) {
  for (const char* text :
       {"// TODO: later", "// TODO(me): later", "/* FIXME */", "// XXX", "// TODO(#12) later"}) {
    EXPECT_THAT(CheckTodos(ParseSource("a.cc", text)), ::testing::SizeIs(1)) << text;
  }
  for (const char* text : {"// TODO(#12): later", "const char* s = \"TODO\";", "// METODO"}) {
    EXPECT_THAT(CheckTodos(ParseSource("a.cc", text)), IsEmpty()) << text;
  }
}

TEST(SleepsTest, TestsDoNotSleep) {
  for (const char* text :
       {"std::this_thread::sleep_for(1s);", "absl::SleepFor(x);", "usleep(3);", "  sleep(1);"}) {
    EXPECT_THAT(CheckSleeps(ParseSource("tests/common/a/a_test.cc", text)), ::testing::SizeIs(1))
        << text;
    EXPECT_THAT(CheckSleeps(ParseSource("common/a/a.cc", text)), IsEmpty()) << text;
  }
}

TEST(MachinePathsTest, AreRefused) {
  for (const char* folder : {"wo"
                             "rk",
                             "ro"
                             "ot",
                             "ho"
                             "me/somebody"}) {
    EXPECT_THAT(CheckMachinePaths("a.md", absl::StrCat("see /", folder, "/x")),
                ::testing::SizeIs(1))
        << folder;
    EXPECT_THAT(CheckMachinePaths("a.md", absl::StrCat("see ${HOME}/", folder, "/x")), IsEmpty())
        << folder;
  }
}

}  // namespace
}  // namespace tessera::tidy
