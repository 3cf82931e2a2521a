#include "services/router/balance/routing_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "common/concurrency/thread.h"
#include "services/router/balance/routing_source.h"
#include "tests/support/memory_limit.h"
#include "tests/support/temp_folder.h"

namespace tessera::router {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr PlacementShape kShape{.layer_count = 3, .expert_count = 300};

void Record(RoutingRecorder& recorder, uint32_t layer, const std::vector<uint32_t>& experts) {
  const std::vector<float> weights(experts.size(), 0.5f);
  recorder.Record(LayerIndex{layer}, {experts.size() / 2, 2, experts, weights});
}

TEST(RoutingTraceTest, WhatIsRecordedIsReadAgain) {
  const testing::TempFolder folder;
  const std::string path = folder.path() + "/trace";
  {
    auto recorder = RoutingRecorder::Create(path, kShape, 2, 1 << 20);
    ASSERT_TRUE(recorder.ok()) << recorder.status();
    Record(**recorder, 1, {0, 299, 5, 257});
    Record(**recorder, 2, {7, 8});
    Record(**recorder, 1, {});  // nothing chosen: no record
  }
  const auto trace = RoutingTrace::Read(path);
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->shape.layer_count, 3u);
  EXPECT_EQ(trace->top_k, 2u);
  ASSERT_EQ(trace->steps.size(), 2u);
  EXPECT_THAT(trace->steps[0].experts, ElementsAre(0, 299, 5, 257));
  EXPECT_EQ(trace->steps[0].rows, 2u);
  EXPECT_EQ(trace->steps[1].layer, LayerIndex{2});

  TraceRouting replay(*trace);
  EXPECT_FALSE(replay.Has(LayerIndex{0}));
  EXPECT_EQ(replay.Next(LayerIndex{1}, 77).rows, 2u);  // a trace has its own numbers
  EXPECT_THAT(replay.Next(LayerIndex{2}, 1).experts, ElementsAre(7, 8));
  EXPECT_THAT(replay.Next(LayerIndex{2}, 1).experts, ElementsAre(7, 8));  // from the beginning
}

// It is handed to the thread that writes it in pieces, and the order stays.
TEST(RoutingTraceTest, ATraceOfManyPiecesIsWhole) {
  const testing::TempFolder folder;
  const std::string path = folder.path() + "/trace";
  constexpr uint32_t kRecords = 30000;  // of 12 bytes
  {
    auto recorder = RoutingRecorder::Create(path, kShape, 2, 1 << 20);
    ASSERT_TRUE(recorder.ok()) << recorder.status();
    for (uint32_t i = 0; i < kRecords; ++i) Record(**recorder, 1 + i % 2, {i % 300, (i + 1) % 300});
    EXPECT_EQ((*recorder)->dropped(), 0u);
  }
  const auto trace = RoutingTrace::Read(path);
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->steps.size(), kRecords);
  for (uint32_t i = 0; i < kRecords; ++i) {
    ASSERT_EQ(trace->steps[i].layer, LayerIndex{1 + i % 2}) << i;
    ASSERT_THAT(trace->steps[i].experts, ElementsAre(i % 300, (i + 1) % 300)) << i;
  }
}

// A disk that stands still costs the engine nothing but the records that find no room.
TEST(RoutingTraceTest, WhatADiskDoesNotTakeIsDroppedAndCounted) {
  const testing::TempFolder folder;
  const std::string path = folder.path() + "/pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::fstream reader(path);  // both ends: nobody waits for the other to open it
  auto recorder = RoutingRecorder::Create(path, kShape, 2, uint64_t{1} << 30);
  ASSERT_TRUE(recorder.ok()) << recorder.status();
  const std::vector<uint32_t> experts(64 << 10, 7);  // 128 KiB, a piece
  for (int i = 0; i < 600; ++i) Record(**recorder, 1, experts);
  const uint64_t dropped = (*recorder)->dropped();
  EXPECT_GT(dropped, 0u);
  EXPECT_LT(dropped, 100u);  // 512 wait, one is being written
  Thread ending("ending", [&](std::stop_token) { recorder->reset(); });
  const size_t left = 20 + (600 - dropped) * (8 + 2 * experts.size());
  std::string bytes(left, '\0');
  EXPECT_TRUE(reader.read(bytes.data(), static_cast<ptrdiff_t>(left)));
  ending.Join();
  EXPECT_EQ(bytes.substr(left - 2), std::string("\7\0", 2));
}

TEST(RoutingTraceTest, ALastRecordThatIsCutOffIsNotThere) {
  const testing::TempFolder folder;
  const std::string path = folder.path() + "/trace";
  {
    auto recorder = RoutingRecorder::Create(path, kShape, 2, 1 << 20);
    ASSERT_TRUE(recorder.ok()) << recorder.status();
    Record(**recorder, 1, {0, 1});
    Record(**recorder, 1, {2, 3});
  }
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  const auto trace = RoutingTrace::Read(path);
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->steps.size(), 1u);
}

TEST(RoutingTraceTest, ItGrowsToItsLimitAndNoFurther) {
  const testing::TempFolder folder;
  const std::string path = folder.path() + "/trace";
  {
    auto recorder = RoutingRecorder::Create(path, kShape, 2, 30);  // two records of 12 bytes
    ASSERT_TRUE(recorder.ok()) << recorder.status();
    for (int i = 0; i < 5; ++i) Record(**recorder, 1, {0, 1});
    EXPECT_EQ((*recorder)->dropped(), 3u);
  }
  EXPECT_EQ(RoutingTrace::Read(path)->steps.size(), 2u);
}

TEST(RoutingTraceTest, DamagedFilesAreRefused) {
  const testing::TempFolder folder;
  const std::string path = folder.path() + "/trace";
  EXPECT_EQ(RoutingTrace::Read(path).status().code(), absl::StatusCode::kNotFound);
  std::ofstream(path) << "no trace at all";
  EXPECT_THAT(RoutingTrace::Read(path).status().message(), HasSubstr("TSSTRCE1"));
  const std::string header("TSSTRCE1\3\0\0\0\4\0\0\0\1\0\0\0", 20);
  std::ofstream(path, std::ios::binary) << header << std::string("\7\0\0\0\1\0\0\0\0\0", 10);
  EXPECT_THAT(RoutingTrace::Read(path).status().message(), HasSubstr("layer 7"));
  std::ofstream(path, std::ios::binary) << header << std::string("\1\0\0\0\1\0\0\0\11\0", 10);
  EXPECT_THAT(RoutingTrace::Read(path).status().message(), HasSubstr("expert 9"));
}

// A record that claims more than the file holds costs nothing.
TEST(RoutingTraceTest, WhatAFileClaimsIsNotReserved) {
  const testing::TempFolder folder;
  const std::string path = folder.path() + "/trace";
  // One layer, 65,536 experts, top 65,536; then a record of 65,536 rows: 16 GiB of numbers.
  std::ofstream(path, std::ios::binary)
      << std::string("TSSTRCE1\1\0\0\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0", 28);
  const testing::MemoryLimit limit(size_t{1} << 30);
  const auto trace = RoutingTrace::Read(path);
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_TRUE(trace->steps.empty());
}

TEST(ZipfRoutingTest, RanksAreChosenByTheLawAndNoneTwiceInARow) {
  ZipfRouting routing({.layer_count = 1, .expert_count = 16}, 1, 1.0, 5);
  std::vector<size_t> counts(16);
  const RoutingView view = routing.Next(LayerIndex{0}, 100'000);
  for (const uint32_t expert : view.experts) ++counts[expert];
  std::sort(counts.rbegin(), counts.rend());
  double sum = 0;
  for (int rank = 1; rank <= 16; ++rank) sum += 1.0 / rank;
  EXPECT_NEAR(static_cast<double>(counts[0]) / 1e5, 1 / sum, 0.01);
  EXPECT_NEAR(static_cast<double>(counts[3]) / 1e5, 0.25 / sum, 0.01);
  ZipfRouting pairs({.layer_count = 1, .expert_count = 4}, 3, 2.0, 5);
  const RoutingView rows = pairs.Next(LayerIndex{0}, 200);
  for (size_t row = 0; row < rows.rows; ++row) {
    const auto experts = rows.experts_of(row);
    EXPECT_TRUE(experts[0] < experts[1] && experts[1] < experts[2]);
  }
}

}  // namespace
}  // namespace tessera::router
