#include "services/cli/process/state_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "services/cli/process/cluster_file.h"
#include "tests/support/temp_folder.h"

namespace tessera::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(StateDirTest, OneLauncherAtATime) {
  const testing::TempFolder folder;
  const std::string path = folder.File("state/dir");
  {
    const auto first = StateDir::Open(path);
    ASSERT_TRUE(first.ok()) << first.status();
    const auto second = StateDir::Open(path);
    EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(second.status().message()), HasSubstr(absl::StrCat(getpid())));
  }
  EXPECT_TRUE(StateDir::Open(path).ok()) << "its launcher is gone";
  EXPECT_EQ(StateDir::Open("/proc/no/such").status().code(), absl::StatusCode::kUnavailable);
}

TEST(StateDirTest, AnOldClusterFileIsRemoved) {
  const testing::TempFolder folder;
  ASSERT_TRUE(ReplaceFile(folder.File("cluster.json"), "old").ok());
  ASSERT_TRUE(StateDir::Open(folder.path()).ok());
  EXPECT_FALSE(std::filesystem::exists(folder.File("cluster.json")));
}

TEST(StateDirTest, TheSecretIsItsOwnersAndNewEachTime) {
  const testing::TempFolder folder;
  const auto state = StateDir::Open(folder.path());
  ASSERT_TRUE(state.ok());
  const auto path = (*state)->WriteSecret();
  ASSERT_TRUE(path.ok()) << path.status();
  const std::string first = testing::ReadFile(*path);
  EXPECT_EQ(first.size(), 65u);
  struct stat info {};
  ASSERT_EQ(stat(path->c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_TRUE((*state)->WriteSecret().ok());
  EXPECT_NE(testing::ReadFile(*path), first);
}

TEST(ClusterFileTest, IsReadAsItWasWritten) {
  const testing::TempFolder folder;
  const std::vector<ClusterProcess> written = {
      {"expert", "expert-0", 71, {{"grpc", "127.0.0.1:1"}, {"data", "ucx:127.0.0.1:2"}}},
      {"gateway", "gateway-0", 72, {{"http", "[::1]:8000"}}},
  };
  EXPECT_EQ(ClusterJson({written[1]}),
            "{\"processes\":[\n{\"role\":\"gateway\",\"id\":\"gateway-0\",\"pid\":72,"
            "\"http\":\"[::1]:8000\"}\n]}\n");
  ASSERT_TRUE(ReplaceFile(folder.File("cluster.json"), ClusterJson(written)).ok());
  const auto read = ReadClusterFile(folder.File("cluster.json"));
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), 2u);
  EXPECT_EQ((*read)[0].role, "expert");
  EXPECT_EQ((*read)[0].id, "expert-0");
  EXPECT_EQ((*read)[0].pid, 71);
  EXPECT_EQ((*read)[0].endpoints, written[0].endpoints);
  ASSERT_NE((*read)[1].Endpoint("http"), nullptr);
  EXPECT_EQ(*(*read)[1].Endpoint("http"), "[::1]:8000");
  EXPECT_EQ((*read)[1].Endpoint("grpc"), nullptr);
}

TEST(ClusterFileTest, EndpointsAreKeptWithoutScheme) {
  const testing::TempFolder folder;
  ASSERT_TRUE(
      ReplaceFile(folder.File("e"), R"({"pid":7,"grpc":"127.0.0.1:1","data":"ucx:127.0.0.1:2"})")
          .ok());
  const auto read = ReadEndpointsFile(folder.File("e"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->pid, 7);
  EXPECT_EQ(*read->Endpoint("grpc"), "127.0.0.1:1");
  EXPECT_EQ(*read->Endpoint("data"), "127.0.0.1:2");
}

TEST(ClusterFileTest, WhatIsNoneIsRefused) {
  const testing::TempFolder folder;
  EXPECT_EQ(ReadClusterFile(folder.File("none")).status().code(), absl::StatusCode::kNotFound);
  for (const std::string text : {"", "{}", "{\"processes\":3}", "{\"processes\":[{\"pid\":-1}]}"}) {
    ASSERT_TRUE(ReplaceFile(folder.File("bad"), text).ok());
    EXPECT_EQ(ReadClusterFile(folder.File("bad")).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
}

}  // namespace
}  // namespace tessera::cli
