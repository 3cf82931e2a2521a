#include "services/router/kv/kv_geometry.h"

#include <algorithm>
#include <set>
#include <string>

#include "common/base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tessera::router {
namespace {

KvGeometry Geometry(size_t full_layers, size_t sliding_layers, size_t window) {
  ModelSpec spec;
  spec.kv_heads = 2;
  spec.head_dim = 8;
  spec.sliding_window = window;
  spec.layer_kinds.assign(full_layers, LayerKind::kFull);
  spec.layer_kinds.insert(spec.layer_kinds.end(), sliding_layers, LayerKind::kSliding);
  return KvGeometry::Of(spec, kernels::KvType::kF32);
}

TEST(KvGeometry, CountsLayersAndBytes) {
  const KvGeometry geometry = Geometry(1, 3, 32);
  EXPECT_EQ(geometry.full_layers, 1u);
  EXPECT_EQ(geometry.sliding_layers, 3u);
  EXPECT_EQ(geometry.layer_block_bytes, 2u * 2 * 8 * 16 * 4);
  EXPECT_EQ(geometry.BytesOf({5, 7}), (5 + 3 * 7) * geometry.layer_block_bytes);
}

TEST(KvGeometry, TheWindowIncludesTheRowItself) {
  const KvGeometry geometry = Geometry(0, 1, 4);
  EXPECT_EQ(geometry.WindowBegin(0), 0u);
  EXPECT_EQ(geometry.WindowBegin(3), 0u);
  EXPECT_EQ(geometry.WindowBegin(4), 1u);
  EXPECT_EQ(geometry.WindowBegin(100), 97u);
}

// Walks a sequence through the steps and counts what it really needs at once.
TEST(KvGeometry, SequenceBlocksIsTheLargestNeedOfAnyStep) {
  for (const size_t window : {1, 2, 15, 16, 17, 18, 32, 33, 50}) {
    for (const size_t chunk : {1, 2, 7, 16, 17, 40}) {
      const KvGeometry geometry = Geometry(1, 1, window);
      size_t worst = 0;
      // Steps of every size up to `chunk` from every position: prefix hits and short chunks put
      // the beginning anywhere.
      for (size_t begin = 0; begin < 200; ++begin) {
        const size_t first = geometry.WindowBegin(begin) / kBlockTokens;
        worst = std::max(worst, (begin + chunk - 1) / kBlockTokens - first + 1);
      }
      EXPECT_EQ(geometry.SequenceBlocks(100000, chunk).sliding, worst)
          << "window " << window << " chunk " << chunk;
      EXPECT_EQ(geometry.SequenceBlocks(17, chunk).sliding, std::min<size_t>(2, worst));
      EXPECT_EQ(geometry.SequenceBlocks(17, chunk).full, 2u);
    }
  }
}

TEST(KvGeometry, AGroupWithoutLayersNeedsNothing) {
  EXPECT_EQ(Geometry(0, 2, 8).SequenceBlocks(1000, 10).full, 0u);
  EXPECT_EQ(Geometry(2, 0, 0).SequenceBlocks(1000, 10).sliding, 0u);
}

TEST(SplitKvBudget, NeverOverspendsAndAlwaysFitsOneSequence) {
  const uint64_t seed = 20240611;
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  size_t split_count = 0;
  for (int i = 0; i < 3000; ++i) {
    const size_t kinds = 1 + random.Below(3);
    const KvGeometry geometry =
        Geometry((kinds & 1) != 0 ? 1 + random.Below(15) : 0,
                 (kinds & 2) != 0 ? 1 + random.Below(45) : 0, 1 + random.Below(300));
    KvBudget budget;
    budget.bytes = random.Below(200'000'000);
    budget.context_max = 1 + random.Below(5000);
    budget.sequence_count = 1 + random.Below(40);
    budget.chunk_tokens = 1 + random.Below(600);
    const BlockCounts one = geometry.SequenceBlocks(budget.context_max, 1);
    const absl::StatusOr<BlockCounts> split = SplitKvBudget(geometry, budget);
    if (geometry.BytesOf(one) > budget.bytes) {
      EXPECT_EQ(split.status().code(), absl::StatusCode::kResourceExhausted);
      const size_t longest = LongestContext(geometry, budget);
      EXPECT_LT(longest, budget.context_max);
      EXPECT_LE(geometry.BytesOf(geometry.SequenceBlocks(longest, 1)), budget.bytes);
      EXPECT_GT(geometry.BytesOf(geometry.SequenceBlocks(longest + 1, 1)), budget.bytes);
      continue;
    }
    ++split_count;
    ASSERT_TRUE(split.ok()) << split.status();
    EXPECT_LE(geometry.BytesOf(*split), budget.bytes);
    EXPECT_GE(split->full, one.full);
    EXPECT_GE(split->sliding, one.sliding);
    EXPECT_EQ(LongestContext(geometry, budget), budget.context_max);
  }
  EXPECT_GT(split_count, 1000u);
}

TEST(SplitKvBudget, ShortSequencesTakeBothGroupsAlike) {
  // 8 sequences of at most 64 tokens lie within the window: as many sliding as full blocks.
  const KvGeometry geometry = Geometry(2, 6, 1024);
  KvBudget budget;
  budget.context_max = 64;
  budget.sequence_count = 8;
  budget.bytes = 8 * 4 * 8 * geometry.layer_block_bytes;
  const BlockCounts split = SplitKvBudget(geometry, budget).value();
  EXPECT_EQ(split.full, 32u);
  EXPECT_EQ(split.sliding, 32u);
  // Twice the bytes: the prefix cache gets the rest, in proportion.
  budget.bytes *= 2;
  const BlockCounts doubled = SplitKvBudget(geometry, budget).value();
  EXPECT_EQ(doubled.full, 64u);
  EXPECT_EQ(doubled.sliding, 64u);
}

TEST(SplitKvBudget, LongSequencesStopTakingSlidingBlocks) {
  const KvGeometry geometry = Geometry(1, 3, 128);
  KvBudget budget;
  budget.context_max = 16000;  // 1000 blocks; sliding: ceil((128 + 16 - 2) / 16) + 1 = 10
  budget.sequence_count = 4;
  budget.chunk_tokens = 16;
  budget.bytes = (4 * 1000 + 3 * 4 * 10) * geometry.layer_block_bytes;
  const BlockCounts split = SplitKvBudget(geometry, budget).value();
  EXPECT_EQ(split.full, 4000u);
  EXPECT_EQ(split.sliding, 40u);
}

TEST(SplitKvBudget, RefusalsSayWhatWouldDo) {
  const KvGeometry geometry = Geometry(1, 1, 32);
  KvBudget budget;
  budget.context_max = 160;
  budget.bytes = 12 * geometry.layer_block_bytes;  // needs 10 + 3
  const absl::Status status = SplitKvBudget(geometry, budget).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("lower context_max to 144"));
  budget.context_max = 0;
  EXPECT_EQ(SplitKvBudget(geometry, budget).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tessera::router
