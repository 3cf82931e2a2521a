#include "services/cli/key_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <sstream>
#include <string>
#include <vector>

#include "services/gateway/keys/key_set.h"
#include "tests/support/temp_folder.h"

namespace tessera::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};

Ran MakeKey(const std::vector<std::string>& flags) {
  const std::vector<std::string_view> args(flags.begin(), flags.end());
  std::istringstream in;
  std::ostringstream out;
  std::ostringstream err;
  const int code = RunKey(args, {.in = in, .out = out, .err = err});
  return {code, out.str(), err.str()};
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

TEST(KeyCommandTest, PrintsTheEntryOfAKey) {
  const Ran ran = MakeKey({"--name=team-a", "--models=x,y", "--parallel_max=3", "--admin"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const std::string secret = FirstLine(ran.out);
  const std::string entry = ran.out.substr(secret.size() + 1);
  EXPECT_THAT(entry, Not(HasSubstr(secret)));
  const auto keys = gateway::KeySet::Parse("{\"keys\":[" + entry + "]}");
  ASSERT_TRUE(keys.ok()) << keys.status();
  const gateway::ApiKey* key = keys->Find(secret);
  ASSERT_NE(key, nullptr);
  EXPECT_EQ(key->name, "team-a");
  EXPECT_THAT(key->models, ElementsAre("x", "y"));
  EXPECT_EQ(key->parallel_max, 3u);
  EXPECT_TRUE(key->admin);
  EXPECT_NE(FirstLine(MakeKey({"--name=team-a"}).out), secret);
}

TEST(KeyCommandTest, AddsToTheFileAndKeepsTheOthers) {
  const testing::TempFolder folder;
  const std::string file = folder.File("keys.json");
  const Ran first = MakeKey({"--name=a", "--keys_file=" + file, "--tokens_per_minute=500",
                             "--weight=2.5", "--priority_min=-7"});
  ASSERT_EQ(first.code, 0) << first.err;
  struct stat found {};
  ASSERT_EQ(stat(file.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777u, 0600u);
  ASSERT_EQ(chmod(file.c_str(), 0640), 0);
  const auto before = gateway::KeySet::Parse(testing::ReadFile(file));
  const Ran second = MakeKey({"--name=b", "--keys_file=" + file});
  ASSERT_EQ(second.code, 0) << second.err;
  ASSERT_EQ(stat(file.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777u, 0640u);
  const auto after = gateway::KeySet::Parse(testing::ReadFile(file));
  ASSERT_TRUE(after.ok()) << after.status();
  ASSERT_EQ(after->keys().size(), 2u);
  EXPECT_EQ(after->keys()[0], before->keys()[0]);
  EXPECT_EQ(after->keys()[0].priority_min, -7);
  EXPECT_EQ(after->Find(FirstLine(first.out))->tokens_per_minute, 500u);
  EXPECT_EQ(after->Find(FirstLine(second.out))->name, "b");
  EXPECT_THAT(testing::ReadFile(file), Not(HasSubstr(FirstLine(second.out))));
}

TEST(KeyCommandTest, WhatTheGatewayWouldRefuseIsNotWritten) {
  const testing::TempFolder folder;
  const std::string file = folder.File("keys.json");
  EXPECT_EQ(MakeKey({}).code, 2);
  EXPECT_EQ(MakeKey({"--name=a b"}).code, 2);
  EXPECT_EQ(MakeKey({"--name=a", "--weight=0"}).code, 2);
  EXPECT_EQ(MakeKey({"--name=a", "--parallel_max=5000000000"}).code, 2);
  EXPECT_EQ(MakeKey({"--name=a", "--priority_min=0.5"}).code, 2);
  ASSERT_EQ(MakeKey({"--name=a", "--keys_file=" + file}).code, 0);
  const std::string text = testing::ReadFile(file);
  const Ran twice = MakeKey({"--name=a", "--keys_file=" + file});
  EXPECT_EQ(twice.code, 2);
  EXPECT_THAT(twice.err, HasSubstr("stands twice"));
  EXPECT_EQ(twice.out, "");
  EXPECT_EQ(testing::ReadFile(file), text);
  testing::WriteFile(file, "{");
  EXPECT_EQ(MakeKey({"--name=b", "--keys_file=" + file}).code, 2);
  EXPECT_EQ(testing::ReadFile(file), "{");
}

}  // namespace
}  // namespace tessera::cli
