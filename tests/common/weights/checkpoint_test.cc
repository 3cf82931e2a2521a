#include "common/weights/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/device/host_memory.h"
#include "tests/support/tiny_model.h"

namespace tessera {
namespace {

using ::testing::AllOf;
using testing::FileTensor;
using ::testing::HasSubstr;
using testing::TempFolder;

absl::Status OpenError(const TempFolder& folder) {
  return Checkpoint::Open(folder.path()).status();
}
std::string Text(const absl::Status& status) { return std::string(status.message()); }

// Three tensors of a page and a half each, in one file.
std::vector<FileTensor> Pages() {
  std::vector<FileTensor> tensors;
  for (const char* name : {"first", "second", "third"})
    tensors.push_back({name, DType::kU8, {3, 2048}, std::string(6144, name[0])});
  return tensors;
}

TensorView ViewOf(const Checkpoint& checkpoint, std::string_view name) {
  const StoredTensor* tensor = checkpoint.Find(name);
  EXPECT_NE(tensor, nullptr);
  return {checkpoint.Bytes(*tensor).data(), tensor->dtype, tensor->shape[0], tensor->shape[1], {}};
}

// Sum of all bytes: touches every page.
size_t Sum(const Checkpoint& checkpoint, std::string_view name) {
  size_t sum = 0;
  for (const std::byte b : checkpoint.Bytes(*checkpoint.Find(name))) sum += static_cast<size_t>(b);
  return sum;
}

TEST(CheckpointTest, FindsTensorsAndNamesPlaces) {
  const TempFolder folder;
  testing::WriteCheckpoint(folder.path(), Pages(), 2);
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->file_count(), 2u);
  EXPECT_EQ((*checkpoint)->tensors().size(), 3u);
  EXPECT_EQ((*checkpoint)->Find("fourth"), nullptr);
  EXPECT_EQ(Sum(**checkpoint, "third"), size_t{'t'} * 6144);
  const TensorView third = ViewOf(**checkpoint, "third");
  EXPECT_THAT((*checkpoint)->Whereabouts(third.data + 6143),
              AllOf(HasSubstr("model-00002-of-00002.safetensors"), HasSubstr("'third'")));
  EXPECT_THAT((*checkpoint)->Whereabouts(ViewOf(**checkpoint, "first").data - 1),
              HasSubstr("header"));
  EXPECT_THAT((*checkpoint)->Whereabouts(nullptr), HasSubstr("outside"));
}

TEST(CheckpointTest, NothingToOpen) {
  const TempFolder folder;
  EXPECT_EQ(OpenError(folder).code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Text(OpenError(folder)), HasSubstr(folder.path()));
  testing::WriteFile(folder.File("model.safetensors"), "");
  EXPECT_EQ(OpenError(folder).code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Text(OpenError(folder)), HasSubstr("is empty"));
  std::filesystem::remove(folder.File("model.safetensors"));
  std::filesystem::create_directory(folder.File("model.safetensors"));
  EXPECT_EQ(OpenError(folder).code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Text(OpenError(folder)), HasSubstr("not a regular file"));
}

TEST(CheckpointTest, TruncatedFilesAreNamed) {
  const TempFolder folder;
  testing::WriteCheckpoint(folder.path(), Pages());
  const std::string path = folder.File("model.safetensors");
  const std::string whole = testing::ReadFile(path);
  for (const size_t size : {size_t{4}, size_t{40}, whole.size() - 6144, whole.size() - 1}) {
    testing::WriteFile(path, whole.substr(0, size));
    EXPECT_EQ(OpenError(folder).code(), absl::StatusCode::kDataLoss) << size;
    EXPECT_THAT(Text(OpenError(folder)), HasSubstr(path));
  }
  testing::WriteFile(path, whole.substr(0, whole.size() - 1));
  EXPECT_THAT(Text(OpenError(folder)), HasSubstr("tensor 'third'"));
}

// Writes an index over two shards ("a.safetensors": first, "b.safetensors": second) and opens it.
absl::Status IndexError(const std::string& weight_map) {
  const TempFolder folder;
  const std::vector<FileTensor> pages = Pages();
  testing::WriteFile(folder.File("a.safetensors"), testing::SafetensorsFile({&pages[0], 1}));
  testing::WriteFile(folder.File("b.safetensors"), testing::SafetensorsFile({&pages[1], 1}));
  testing::WriteFile(folder.File("model.safetensors.index.json"), weight_map);
  return OpenError(folder);
}

TEST(CheckpointTest, IndexAndShardsMustAgree) {
  EXPECT_TRUE(
      IndexError(R"({"weight_map": {"first": "a.safetensors", "second": "b.safetensors"}})").ok());
  const auto expect = [](const char* index, absl::StatusCode code, const char* part) {
    const absl::Status status = IndexError(index);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(Text(status), HasSubstr(part));
  };
  using Code = absl::StatusCode;
  expect(R"({"weight_map": {"first": "a.safetensors", "second": "c.safetensors"}})",
         Code::kNotFound, "c.safetensors");
  expect(R"({"weight_map": {"first": "b.safetensors", "second": "a.safetensors"}})",
         Code::kDataLoss, "places in b.safetensors");
  expect(R"({"weight_map": {"first": "a.safetensors", "x": "b.safetensors"}})", Code::kDataLoss,
         "'second', which model.safetensors.index.json does not list");
  expect(R"({"weight_map": {"first": "a.safetensors", "third": "a.safetensors"}})", Code::kDataLoss,
         "tensor 'third' is missing");
  expect(R"({"weight_map": {"first": "../a.safetensors"}})", Code::kInvalidArgument,
         "weight_map.first: found string '../a.safetensors'");
  expect(R"({"weight_map": {"first": 3}})", Code::kInvalidArgument, "weight_map.first");
  expect(R"({"weight_map": {}})", Code::kInvalidArgument, "weight_map");
  expect(R"({})", Code::kInvalidArgument, "weight_map is missing");
  expect(R"({"weight_map": )", Code::kInvalidArgument, "not valid JSON");
}

TEST(CheckpointTest, ATensorInTwoShardsIsRefused) {
  const TempFolder folder;
  const std::vector<FileTensor> pages = Pages();
  testing::WriteFile(folder.File("a.safetensors"), testing::SafetensorsFile({&pages[0], 1}));
  testing::WriteFile(folder.File("b.safetensors"), testing::SafetensorsFile({&pages[0], 2}));
  testing::WriteFile(folder.File("model.safetensors.index.json"),
                     R"({"weight_map": {"first": "a.safetensors", "second": "b.safetensors"}})");
  const absl::Status status = OpenError(folder);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Text(status), AllOf(HasSubstr("b.safetensors"), HasSubstr("'first'")));
}

TEST(CheckpointTest, AFileThatShrinksInUseIsNoticed) {
  const TempFolder folder;
  testing::WriteCheckpoint(folder.path(), Pages());
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_TRUE((*checkpoint)->Verify().ok());
  const std::string path = folder.File("model.safetensors");
  ASSERT_EQ(truncate(path.c_str(), 4096), 0);
  EXPECT_LT(Sum(**checkpoint, "third"), size_t{'t'} * 6144);
  EXPECT_TRUE((*checkpoint)->damaged());
  const absl::Status status = (*checkpoint)->Verify();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Text(status), AllOf(HasSubstr(path), HasSubstr("tensor 'first'"),
                                  HasSubstr("lost from byte 4096"), HasSubstr("shrank")));
}

// Bytes behind the end of the file, but in its last page, raise no fault.
TEST(CheckpointTest, AFileThatLosesAFewBytesIsNoticed) {
  const TempFolder folder;
  testing::WriteCheckpoint(folder.path(), Pages());
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const std::string path = folder.File("model.safetensors");
  ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>((*checkpoint)->file_bytes() - 3)), 0);
  EXPECT_EQ(Sum(**checkpoint, "third"), size_t{'t'} * 6141);
  EXPECT_FALSE((*checkpoint)->damaged());
  EXPECT_THAT(Text((*checkpoint)->Verify()), AllOf(HasSubstr(path), HasSubstr("tensor 'third'")));
}

TEST(CheckpointTest, AFileThatIsWrittenToIsNoticed) {
  const TempFolder folder;
  testing::WriteCheckpoint(folder.path(), Pages());
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const std::string path = folder.File("model.safetensors");
  const auto modified = std::filesystem::last_write_time(path);
  std::filesystem::last_write_time(path, modified + std::chrono::seconds(5));
  EXPECT_EQ((*checkpoint)->Verify().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Text((*checkpoint)->Verify()), AllOf(HasSubstr(path), HasSubstr("written to")));
}

TEST(CheckpointTest, ADeletedFileStaysReadable) {
  const TempFolder folder;
  testing::WriteCheckpoint(folder.path(), Pages());
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  std::filesystem::remove(folder.File("model.safetensors"));
  EXPECT_EQ(Sum(**checkpoint, "second"), size_t{'s'} * 6144);
  EXPECT_TRUE((*checkpoint)->Verify().ok()) << (*checkpoint)->Verify();
}

TEST(CheckpointTest, ReleasedPagesLeaveTheProcess) {
  constexpr size_t kBytes = size_t{32} << 20;
  const TempFolder folder;
  testing::WriteCheckpoint(
      folder.path(), std::vector<FileTensor>{
                         {"large", DType::kU8, {1024, kBytes / 1024}, std::string(kBytes, 1)}});
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(Sum(**checkpoint, "large"), kBytes);
  const size_t read = ResidentBytes();
  (*checkpoint)->Release(ViewOf(**checkpoint, "large"));
  EXPECT_LT(ResidentBytes() + kBytes / 2, read);
}

TEST(CheckpointTest, HintsDoNotChangeWhatIsRead) {
  const TempFolder folder;
  testing::WriteCheckpoint(folder.path(), Pages());
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const TensorView second = ViewOf(**checkpoint, "second");
  (*checkpoint)->Prefetch(second);
  EXPECT_EQ(Sum(**checkpoint, "second"), size_t{'s'} * 6144);
  (*checkpoint)->Release(second);
  EXPECT_EQ(Sum(**checkpoint, "second"), size_t{'s'} * 6144);
  (*checkpoint)->ReleaseAll();
  EXPECT_EQ(Sum(**checkpoint, "first"), size_t{'f'} * 6144);
  EXPECT_TRUE((*checkpoint)->Verify().ok());
}

}  // namespace
}  // namespace tessera
