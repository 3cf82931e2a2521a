#include "common/config/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<ServiceFlags> Parse(std::vector<std::string_view> args) {
  return ParseServiceFlags(args);
}

TEST(ServiceFlagsTest, ValuesComeBehindAnEqualsSignOrAsTheNextWord) {
  const auto flags = Parse({"--config=a.json", "--set", "x.y=1", "--set=z=a=b", "--print_config"});
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_EQ(flags->config_file, "a.json");
  EXPECT_THAT(flags->assignments, ElementsAre("x.y=1", "z=a=b"));
  EXPECT_TRUE(flags->print_config);
  EXPECT_FALSE(flags->version);
  EXPECT_TRUE(Parse({"--version"})->version);
  EXPECT_TRUE(Parse({"-h"})->help);
  EXPECT_FALSE(Parse({})->config_file.has_value());
}

TEST(ServiceFlagsTest, NothingElseIsUnderstood) {
  const std::pair<std::vector<std::string_view>, const char*> cases[] = {
      {{"--port=1"}, "--port"},
      {{"model"}, "model"},
      {{"--config"}, "--config"},
      {{"--set"}, "--set"},
      {{"--config=a", "--config=b"}, "twice"},
      {{"--print_config=yes"}, "--print_config=yes"},
  };
  for (const auto& [args, word] : cases) {
    const absl::Status status = Parse(args).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(word));
  }
  EXPECT_THAT(ServiceUsage("tessera-router"), HasSubstr("tessera-router"));
}

}  // namespace
}  // namespace tessera
