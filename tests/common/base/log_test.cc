#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "common/base/log_event.h"
#include "tests/support/temp_folder.h"

namespace tessera {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

class LogTest : public ::testing::Test {
 protected:
  ~LogTest() override { EXPECT_TRUE(StartLogging({}).ok()); }  // standard error, as before

  std::vector<std::string> Lines() const {
    return absl::StrSplit(testing::ReadFile(file()), '\n', absl::SkipEmpty());
  }
  std::string file() const { return folder_.File("log"); }

  const testing::TempFolder folder_;
};

const std::vector<LogField> kFields = {
    {"request_id", std::string("a \"b\"\n")}, {"tokens", int64_t{-3}}, {"seconds", 0.25}};

TEST_F(LogTest, AJsonObjectALine) {
  ASSERT_TRUE(StartLogging({.file = file(), .json = true}).ok());
  TESSERA_LOG(WARNING) << "shard \"3\"\tis lost\nand back";
  LogEvent(LogLevel::INFO, "request", kFields);
  const std::vector<std::string> lines = Lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], StartsWith(R"({"time":"2)"));
  EXPECT_THAT(lines[0],
              HasSubstr(R"("level":"warning","message":"shard \"3\"\tis lost\nand back",)"));
  EXPECT_THAT(lines[0], HasSubstr(R"(tests/common/base/log_test.cc:)"));
  EXPECT_THAT(lines[1], EndsWith(R"("level":"info","message":"request",)"
                                 R"("request_id":"a \"b\"\n","tokens":-3,"seconds":0.25})"));
}

TEST_F(LogTest, ATextLineForPeople) {
  ASSERT_TRUE(StartLogging({.file = file()}).ok());
  TESSERA_LOG(INFO) << "shard " << 3 << " joined";
  LogEvent(LogLevel::ERROR, "request", kFields);
  const std::vector<std::string> lines = Lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], MatchesRegex("[0-9T:.-]+ I shard 3 joined"));
  EXPECT_THAT(lines[1], EndsWith(R"( E request request_id="a \"b\"\n" tokens=-3 seconds=0.25)"));
}

TEST_F(LogTest, LinesBelowTheLevelAreDropped) {
  ASSERT_TRUE(StartLogging({.file = file(), .level = LogLevel::ERROR}).ok());
  TESSERA_LOG(WARNING) << "quiet";
  LogEvent(LogLevel::INFO, "quiet", kFields);
  TESSERA_LOG(ERROR) << "loud";
  ASSERT_EQ(Lines().size(), 1u);
  EXPECT_THAT(Lines()[0], EndsWith("loud"));
}

TEST_F(LogTest, WhatCannotBeIsSaid) {
  EXPECT_EQ(StartLogging({.file = "/proc/nowhere/log"}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseLogLevel("loud").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseLogLevel("warning").value(), LogLevel::WARNING);
}

}  // namespace
}  // namespace tessera
