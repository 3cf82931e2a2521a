#include "services/cli/flag_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Options {
  std::string model = "none";
  size_t threads = 2;
  uint16_t port = 8000;
  double temperature = 1.0;
  bool json = false;
};

FlagSet Declare(Options& options) {
  FlagSet flags("bench --model=DIR", "Measures.");
  flags.Add("model", &options.model, "checkpoint folder");
  flags.Add("threads", &options.threads, "compute threads");
  flags.Add("port", &options.port, "port");
  flags.Add("temperature", &options.temperature, "temperature");
  flags.Add("json", &options.json, "one JSON line a case");
  flags.TakeWords(2);
  return flags;
}

TEST(FlagSetTest, ReadsEverySpelling) {
  Options options;
  FlagSet flags = Declare(options);
  const std::vector<std::string_view> args = {"DIR",    "--model=a=b",       "--threads", "7",
                                              "--json", "--temperature=0.5", "--",        "--x"};
  ASSERT_TRUE(flags.Parse(args).ok());
  EXPECT_EQ(options.model, "a=b");
  EXPECT_EQ(options.threads, 7u);
  EXPECT_EQ(options.port, 8000);
  EXPECT_EQ(options.temperature, 0.5);
  EXPECT_TRUE(options.json);
  EXPECT_TRUE(flags.given("threads"));
  EXPECT_FALSE(flags.given("port"));
  EXPECT_THAT(flags.positional(), ElementsAre("DIR", "--x"));
}

TEST(FlagSetTest, SaysWhatIsWrong) {
  const std::vector<std::pair<std::vector<std::string_view>, std::string>> cases = {
      {{"--thread=1"}, "--thread is unknown; there are --model, --threads"},
      {{"--threads"}, "--threads lacks its value"},
      {{"--threads=-1"}, "--threads: cannot read '-1'"},
      {{"--threads=1x"}, "cannot read '1x'"},
      {{"--port=65536"}, "--port: cannot read '65536'"},
      {{"--temperature=nan"}, "--temperature: cannot read 'nan'"},
      {{"--json=maybe"}, "--json: cannot read 'maybe'"},
      {{"a", "b", "c"}, "'c' is a word too many; usage: tessera bench --model=DIR"},
  };
  for (const auto& [args, message] : cases) {
    Options options;
    FlagSet flags = Declare(options);
    const absl::Status status = flags.Parse(args);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  }
}

TEST(FlagSetTest, HelpNamesFlagsAndDefaults) {
  Options options;
  FlagSet flags = Declare(options);
  const std::vector<std::string_view> args = {"--help"};
  ASSERT_TRUE(flags.Parse(args).ok());
  EXPECT_TRUE(flags.help_wanted());
  EXPECT_THAT(flags.Help(), StartsWith("usage: tessera bench --model=DIR\n"));
  EXPECT_THAT(flags.Help(), HasSubstr("--threads  compute threads (default 2)"));
}

TEST(FlagSetTest, AnotherProgramHasItsName) {
  FlagSet flags("train --out=DIR", "Trains.", "tessera-train");
  EXPECT_THAT(flags.Help(), StartsWith("usage: tessera-train train --out=DIR\n"));
  const std::vector<std::string_view> args = {"word"};
  EXPECT_THAT(std::string(flags.Parse(args).message()),
              HasSubstr("usage: tessera-train train --out=DIR,"));
}

}  // namespace
}  // namespace tessera::cli
