#include "services/cli/tokenize_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/common/text/fixture.h"

namespace tessera::cli {
namespace {

using ::testing::HasSubstr;

class TokenizeCommandTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = ::testing::TempDir() + "/tokenize_command_test_" + std::to_string(getpid()) + ".json";
    std::ofstream(path_) << tessera::testing::ByteLevelFixture().Json();
    file_flag_ = "--tokenizer=" + path_;
  }
  void TearDown() override { std::remove(path_.c_str()); }

  int Run(std::vector<std::string_view> args, const std::string& input) {
    std::istringstream in(input);
    std::ostringstream out;
    std::ostringstream err;
    const int code = RunTokenize(args, in, out, err);
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  std::string path_;
  std::string file_flag_;
  std::string out_;
  std::string err_;
};

TEST_F(TokenizeCommandTest, EncodesLineByLine) {
  EXPECT_EQ(Run({file_flag_}, "\"hello\"\n\"\"\n\"<|bos|>a\\u00e9\\ud83d\\ude00\"\n"), 0);
  EXPECT_EQ(out_, "[259]\n[]\n[265,97,195,169,240,159,152,128]\n");
  EXPECT_EQ(Run({file_flag_, "--add_special_tokens"}, "\"hello\"\n\"\""), 0);
  EXPECT_EQ(out_, "[265,259]\n[265]\n");
  EXPECT_EQ(Run({file_flag_}, ""), 0);
  EXPECT_EQ(out_, "");
}

TEST_F(TokenizeCommandTest, LinesEndAtNewlineOnly) {
  EXPECT_EQ(Run({file_flag_}, "\"a\\u2028\u2028\u0085\\r\"\r\n"), 0);
  EXPECT_EQ(out_, "[97,226,128,168,226,128,168,194,133,13]\n");
}

TEST_F(TokenizeCommandTest, LoneSurrogatesBecomeReplacements) {
  EXPECT_EQ(Run({file_flag_}, "\"\\ud800\\udc00 \\udc00\\ud800x \\\\ud800\"\n"), 0);
  EXPECT_EQ(out_, "[240,144,128,128,32,239,191,189,239,191,189,120,32,92,117,100,56,48,48]\n");
}

TEST_F(TokenizeCommandTest, DecodesBack) {
  EXPECT_EQ(Run({file_flag_, "--decode"}, "[265,259,34,92,10]\n[]\n[195]\n"), 0);
  EXPECT_EQ(out_, "\"<|bos|>hello\\\"\\\\\\n\"\n\"\"\n\"\uFFFD\"\n");
  EXPECT_EQ(Run({file_flag_, "--decode", "--skip_special_tokens"}, "[265,259]\n"), 0);
  EXPECT_EQ(out_, "\"hello\"\n");
}

TEST_F(TokenizeCommandTest, BadInputIsNamed) {
  EXPECT_EQ(Run({file_flag_}, "\"a\"\nnonsense\n"), 1);
  EXPECT_THAT(err_, HasSubstr("line 2"));
  EXPECT_THAT(err_, HasSubstr("expected a JSON string, as in \"Hello\""));
  EXPECT_EQ(Run({file_flag_}, "[1]\n"), 1);
  EXPECT_EQ(Run({file_flag_, "--decode"}, "[1.5]\n"), 1);
  EXPECT_EQ(Run({file_flag_, "--decode"}, "[-1]\n"), 1);
  EXPECT_EQ(Run({file_flag_, "--decode"}, "[267]\n"), 1);  // one over the highest id
  EXPECT_EQ(Run({"--tokenizer=/nonexistent"}, ""), 1);
  EXPECT_THAT(err_, HasSubstr("/nonexistent"));
  EXPECT_EQ(Run({"--help"}, ""), 0);
  EXPECT_THAT(out_, HasSubstr("usage"));
  EXPECT_EQ(Run({}, ""), 2);
  EXPECT_THAT(err_, HasSubstr("usage"));
  EXPECT_EQ(Run({file_flag_, "--verbose"}, ""), 2);
  EXPECT_THAT(err_, HasSubstr("--verbose"));
}

}  // namespace
}  // namespace tessera::cli
