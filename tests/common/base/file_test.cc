#include "common/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "tests/support/temp_folder.h"

namespace tessera {
namespace {

using ::testing::StartsWith;

size_t FilesIn(const std::string& folder) {
  return static_cast<size_t>(std::ranges::distance(std::filesystem::directory_iterator(folder),
                                                   std::filesystem::directory_iterator()));
}

TEST(ReadWholeFileTest, EveryByteOfAnySize) {
  const testing::TempFolder folder;
  const std::string path = folder.File("a");
  for (const size_t size : {0, 1, 65535, 65536, 65537, 300000}) {
    std::string content(size, '\0');
    for (size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i % 251);
    testing::WriteFile(path, content);
    const auto read = ReadWholeFile(path);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_TRUE(*read == content) << size;
  }
}

TEST(ReadWholeFileTest, AFileThatTellsNoSize) {
  const auto read = ReadWholeFile("/proc/self/maps");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_GT(read->size(), 100u);
  EXPECT_EQ(read->back(), '\n');
}

TEST(ReadWholeFileTest, ErrorsBeginWithThePath) {
  const testing::TempFolder folder;
  const std::string path = folder.File("a");
  const absl::Status none = ReadWholeFile(path).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(none.message()), StartsWith(path + ": cannot be read: No such file"));
  const absl::Status is_folder = ReadWholeFile(folder.path()).status();
  EXPECT_EQ(is_folder.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(is_folder.message()), StartsWith(folder.path() + ": cannot be read: "));
  testing::WriteFile(path, "four");
  EXPECT_TRUE(ReadWholeFile(path, 4).ok());
  const absl::Status large = ReadWholeFile(path, 3).status();
  EXPECT_EQ(large.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(large.message()), StartsWith(path + ": is too large; at most 3 bytes"));
}

TEST(ReplaceFileTest, TheNewContentAndNothingElse) {
  const testing::TempFolder folder;
  const std::string path = folder.File("a");
  ASSERT_TRUE(ReplaceFile(path, "the first").ok());
  ASSERT_TRUE(ReplaceFile(path, "two", 0600).ok());
  EXPECT_EQ(testing::ReadFile(path), "two");
  EXPECT_EQ(FilesIn(folder.path()), 1u);
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(ReplaceFileTest, AnErrorLeavesWhatWasThere) {
  const testing::TempFolder folder;
  const absl::Status none = ReplaceFile(folder.File("no/such/a"), "x");
  EXPECT_EQ(none.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(none.message()),
              StartsWith(folder.File("no/such/a") + ": cannot be written: No such file"));
  // A folder cannot be replaced by a file: what was written beside it goes.
  const std::string inner = folder.File("folder");
  std::filesystem::create_directory(inner);
  EXPECT_EQ(ReplaceFile(inner, "x").code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(std::filesystem::is_directory(inner));
  EXPECT_EQ(FilesIn(folder.path()), 1u);
}

}  // namespace
}  // namespace tessera
