#include "common/config/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tessera/config/v1/router.pb.h"
#include "tests/support/temp_folder.h"

namespace tessera {
namespace {

using config::v1::Router;
using ::testing::AllOf;
using ::testing::HasSubstr;

Router Defaults() {
  Router config;
  config.set_admin_listen("127.0.0.1:8012");
  config.set_batch_tokens_max(2048);
  config.set_prefix_cache(true);
  config.mutable_log()->set_level("info");
  config.mutable_log()->set_files_max(4);
  return config;
}

std::string ErrorOf(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(ConfigFileTest, WhatTheFileSaysWinsAndTheRestStays) {
  Router config = Defaults();
  const absl::Status status = MergeConfigText(
      R"({"model": "m", "batch_tokens_max": 64, "log": {"json": true}, "drain_seconds": 1.5})",
      config);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(config.model(), "m");
  EXPECT_EQ(config.batch_tokens_max(), 64u);
  EXPECT_EQ(config.drain_seconds(), 1.5);
  EXPECT_TRUE(config.log().json());
  EXPECT_EQ(config.log().level(), "info");
  EXPECT_EQ(config.admin_listen(), "127.0.0.1:8012");
}

TEST(ConfigFileTest, ZeroFalseAndEmptyAreSaidToo) {
  Router config = Defaults();
  const absl::Status status = MergeConfigText(
      R"({"admin_listen": "", "prefix_cache": false, "log": {"files_max": 0}})", config);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(config.admin_listen(), "");
  EXPECT_FALSE(config.prefix_cache());
  EXPECT_EQ(config.log().files_max(), 0u);
  EXPECT_EQ(config.log().level(), "info");
}

TEST(ConfigFileTest, ErrorsNameTheKeyAndChangeNothing) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"modle": "m"})", "modle"},
      {R"({"log": {"colour": true}})", "colour"},
      {R"({"batch_tokens_max": "many"})", "batch_tokens_max"},
      {R"({"batch_tokens_max": -1})", "batch_tokens_max"},
      {R"({"prefix_cache": 3})", "prefix_cache"},
      {R"({"log": 3})", "log"},
      {R"({"model": )", "JSON"},
      {"", "JSON"},
      {"[]", "JSON"},
  };
  for (const auto& [text, word] : cases) {
    Router config = Defaults();
    EXPECT_THAT(ErrorOf(MergeConfigText(text, config)), HasSubstr(word)) << text;
    EXPECT_EQ(config.SerializeAsString(), Defaults().SerializeAsString()) << text;
  }
}

TEST(ConfigFileTest, SetRefusesWhatIsNotUtf8) {
  Router config;
  EXPECT_THAT(ErrorOf(SetConfigField("model=/a\xff", config)), HasSubstr("UTF-8"));
  ASSERT_TRUE(SetConfigField("model=/\"ä\"\\\n", config).ok());
  EXPECT_EQ(config.model(), "/\"ä\"\\\n");
}

TEST(ConfigFileTest, FilesAreNamedInErrors) {
  const testing::TempFolder folder;
  Router config;
  const absl::Status missing = MergeConfigFile(folder.File("none.json"), config);
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("none.json"));
  testing::WriteFile(folder.File("bad.json"), R"({"modle": 1})");
  EXPECT_THAT(ErrorOf(MergeConfigFile(folder.File("bad.json"), config)),
              AllOf(HasSubstr("bad.json"), HasSubstr("modle"), HasSubstr("batch_tokens_max")));
  testing::WriteFile(folder.File("good.json"), R"({"model": "m"})");
  EXPECT_TRUE(MergeConfigFile(folder.File("good.json"), config).ok());
  EXPECT_EQ(config.model(), "m");
}

TEST(ConfigFileTest, SetTakesEveryType) {
  Router config = Defaults();
  for (const char* assignment :
       {"model=/a=b \"c\\", "batch_tokens_max=7", "prefix_cache=false", "log.json=true",
        "drain_seconds=0.25", "kv_bytes=123456789012", "log.level="}) {
    const absl::Status status = SetConfigField(assignment, config);
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(config.model(), "/a=b \"c\\");
  EXPECT_EQ(config.batch_tokens_max(), 7u);
  EXPECT_FALSE(config.prefix_cache());
  EXPECT_TRUE(config.log().json());
  EXPECT_EQ(config.drain_seconds(), 0.25);
  EXPECT_EQ(config.kv_bytes(), 123456789012u);
  EXPECT_EQ(config.log().level(), "");
}

TEST(ConfigFileTest, SetSaysWhatWouldBeRight) {
  const std::pair<const char*, const char*> cases[] = {
      {"model", "group.field=value"},      {"=x", "group.field=value"},
      {"modle=x", "admin_listen"},         {"log.colour=red", "level"},
      {"log=x", "file_bytes_max"},         {"model.name=x", "single value"},
      {"batch_tokens_max=many", "uint32"}, {"prefix_cache=perhaps", "bool"},
      {"drain_seconds=soon", "double"},    {".=x", "unknown key ''"},
  };
  for (const auto& [assignment, word] : cases) {
    Router config = Defaults();
    EXPECT_THAT(ErrorOf(SetConfigField(assignment, config)), HasSubstr(word)) << assignment;
    EXPECT_EQ(config.SerializeAsString(), Defaults().SerializeAsString()) << assignment;
  }
}

TEST(ConfigFileTest, WhatIsPrintedReadsBack) {
  Router config = Defaults();
  config.set_kv_bytes(uint64_t{1} << 40);
  Router again;
  ASSERT_TRUE(MergeConfigText(PrintConfig(config), again).ok()) << PrintConfig(config);
  EXPECT_EQ(again.SerializeAsString(), config.SerializeAsString());
  EXPECT_THAT(PrintConfig(config), HasSubstr("batch_tokens_max"));
}

}  // namespace
}  // namespace tessera
