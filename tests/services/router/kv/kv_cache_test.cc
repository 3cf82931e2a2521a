#include "services/router/kv/kv_cache.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tessera::router {
namespace {

constexpr LayerKind kFull = LayerKind::kFull;
constexpr LayerKind kSliding = LayerKind::kSliding;

ModelSpec Spec(std::vector<LayerKind> kinds, size_t window = 40) {
  ModelSpec spec;
  spec.kv_heads = 2;
  spec.head_dim = 4;
  spec.sliding_window = window;
  spec.layer_count = kinds.size();
  spec.layer_kinds = std::move(kinds);
  return spec;
}

std::unique_ptr<KvCache> Cache(const ModelSpec& spec, BlockCounts blocks,
                               bool prefix_cache = true) {
  KvCacheConfig config;
  config.blocks = blocks;
  config.prefix_cache = prefix_cache;
  return KvCache::Create(spec, config).value();
}

std::unique_ptr<Sequence> Tokens(size_t count, TokenId first = 0, std::string salt = "") {
  SequenceRequest request;
  for (size_t i = 0; i < count; ++i) request.prompt.push_back(first + static_cast<TokenId>(i));
  request.cache_salt = std::move(salt);
  return std::make_unique<Sequence>(std::move(request));
}

void Compute(KvCache& kv, Sequence& sequence, size_t row_count) {
  ASSERT_TRUE(kv.Reserve(sequence, row_count));
  kv.Commit(sequence, row_count);
}

TEST(KvCache, LayersOfABlockLieTogether) {
  const ModelSpec spec = Spec({kSliding, kSliding, kFull, kSliding});
  KvCacheConfig config;
  config.type = kernels::KvType::kF32;
  config.blocks = {3, 5};
  const auto kv = KvCache::Create(spec, config).value();
  const size_t layer_bytes = kv->geometry().layer_block_bytes;
  const kernels::KvLayerView first = kv->View(LayerIndex{0});
  EXPECT_EQ(first.block_stride_bytes, 3 * layer_bytes);
  EXPECT_EQ(first.layer_block_bytes(), layer_bytes);
  EXPECT_EQ(first.type, kernels::KvType::kF32);
  EXPECT_EQ(kv->View(LayerIndex{1}).base, first.base + layer_bytes);
  EXPECT_EQ(kv->View(LayerIndex{3}).base, first.base + 2 * layer_bytes);
  EXPECT_EQ(kv->View(LayerIndex{2}).block_stride_bytes, layer_bytes);
  // The whole of both groups is memory of ours.
  for (uint32_t layer = 0; layer < 4; ++layer) {
    const kernels::KvLayerView view = kv->View(LayerIndex{layer});
    const size_t blocks = spec.layer_kinds[layer] == kFull ? 3 : 5;
    for (size_t b = 0; b < blocks; ++b) {
      std::fill_n(view.base + b * view.block_stride_bytes, layer_bytes, std::byte{0x5a});
    }
  }
  EXPECT_EQ(kv->stats().total_bytes, (3 + 3 * 5) * layer_bytes);
}

TEST(KvCache, RefusesAGroupWithoutBlocks) {
  KvCacheConfig config;
  config.blocks = {0, 4};
  EXPECT_EQ(KvCache::Create(Spec({kFull, kSliding}), config).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(KvCache::Create(Spec({kSliding}), config).ok());
  config.blocks = {4, 0};
  EXPECT_EQ(KvCache::Create(Spec({kFull, kSliding}), config).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(KvCache::Create(Spec({kFull}), config).ok());
  config.blocks = {4, 4};
  EXPECT_EQ(KvCache::Create(Spec({kSliding}, /*window=*/0), config).status().code(),
            absl::StatusCode::kInvalidArgument);
  config.blocks = {size_t{1} << 31, 4};
  ModelSpec huge = Spec({kFull});
  huge.kv_heads = size_t{1} << 20;
  EXPECT_EQ(KvCache::Create(huge, config).status().code(), absl::StatusCode::kResourceExhausted);
  huge.kv_heads = size_t{1} << 30;  // the product would not fit into 64 bits
  EXPECT_EQ(KvCache::Create(huge, config).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(KvCache, SlidingBlocksStopGrowing) {
  const auto kv = Cache(Spec({kFull, kSliding}), {100, 100}, /*prefix_cache=*/false);
  const auto sequence = Tokens(1600);
  for (size_t i = 0; i < 1600; ++i) {
    Compute(*kv, *sequence, 1);
    // Positions window - 1 before the next one: 39 tokens, in at most 4 blocks.
    ASSERT_LE(kv->stats().sliding.used_count, 4u);
    const size_t begin = kv->geometry().WindowBegin(i + 1) / kBlockTokens;
    ASSERT_EQ(sequence->tables().sliding_begin, begin);
    for (size_t b = 0; b < sequence->tables().sliding.size(); ++b) {
      ASSERT_EQ(sequence->tables().sliding[b] == kNoBlock, b < begin);
    }
  }
  EXPECT_EQ(kv->stats().full.used_count, 100u);
  EXPECT_EQ(kv->stats().used_bytes, kv->geometry().BytesOf({100, kv->stats().sliding.used_count}));
  kv->Release(*sequence);
  EXPECT_EQ(kv->stats().used_bytes, 0u);
  EXPECT_EQ(kv->available().sliding, 100u);
  EXPECT_EQ(sequence->committed(), 0u);
}

TEST(KvCache, ReserveIsAllOrNothing) {
  const auto kv = Cache(Spec({kFull, kSliding}), {4, 3});
  const auto sequence = Tokens(100);
  EXPECT_EQ(kv->RowsThatFit(*sequence, 100, {}), 48u);
  EXPECT_EQ(kv->RowsThatFit(*sequence, 100, {3, 0}), 16u);
  EXPECT_EQ(kv->RowsThatFit(*sequence, 100, {0, 7}), 0u);
  EXPECT_EQ(kv->RowsThatFit(*sequence, 5, {}), 5u);
  EXPECT_FALSE(kv->Reserve(*sequence, 49));
  EXPECT_EQ(kv->available().full, 4u);
  EXPECT_EQ(kv->available().sliding, 3u);
  EXPECT_TRUE(kv->Reserve(*sequence, 48));
  EXPECT_TRUE(kv->Reserve(*sequence, 20));  // a failed step comes again, smaller: nothing to do
  EXPECT_EQ(kv->available().full, 1u);
  EXPECT_EQ(kv->available().sliding, 0u);
}

TEST(KvCache, ASecondSequenceReusesFullBlocks) {
  const auto kv = Cache(Spec({kFull, kSliding}), {20, 20});
  const auto first = Tokens(50);
  Compute(*kv, *first, 50);
  const auto second = Tokens(50);
  EXPECT_EQ(kv->Attach(*second, 50), 48u);
  EXPECT_EQ(second->committed(), 48u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(second->tables().full[i], first->tables().full[i]);
  }
  // Token 48 sees 9 .. 48: all three blocks.
  EXPECT_EQ(second->tables().sliding_begin, 0u);
  EXPECT_EQ(kv->allocator(KvGroup::kSliding).ref_count(second->tables().sliding[1]), 3u);
  EXPECT_EQ(kv->stats().full.used_count, 4u);
  Compute(*kv, *second, 2);
  EXPECT_NE(second->tables().full[3], first->tables().full[3]);
}

TEST(KvCache, AlwaysLeavesATokenToCompute) {
  const auto kv = Cache(Spec({kFull, kSliding}), {20, 20});
  const auto first = Tokens(48);
  Compute(*kv, *first, 48);
  EXPECT_EQ(kv->Attach(*Tokens(1), 1), 0u);
  EXPECT_EQ(kv->Attach(*Tokens(16), 16), 0u);
  const auto second = Tokens(48);
  EXPECT_EQ(kv->Attach(*second, 48), 32u);
  kv->Release(*second);
  const auto third = Tokens(49);
  EXPECT_EQ(kv->Attach(*third, 49), 48u);
  kv->Release(*third);
  const auto limited = Tokens(49);
  EXPECT_EQ(kv->Attach(*limited, 31), 16u);
  kv->Release(*limited);
}

TEST(KvCache, SaltsAndDifferentTokensShareNothing) {
  const auto kv = Cache(Spec({kFull, kSliding}), {20, 20});
  const auto first = Tokens(40, 0, "tenant a");
  Compute(*kv, *first, 40);
  EXPECT_EQ(kv->Attach(*Tokens(40, 0, "tenant b"), 40), 0u);
  EXPECT_EQ(kv->Attach(*Tokens(40, 0, ""), 40), 0u);
  EXPECT_EQ(kv->Attach(*Tokens(40, 1, "tenant a"), 40), 0u);
  EXPECT_EQ(kv->Attach(*Tokens(40, 0, "tenant a"), 40), 32u);
}

TEST(KvCache, DegradedTokensNeverEnter) {
  const auto kv = Cache(Spec({kFull, kSliding}), {20, 20});
  const auto first = Tokens(80);
  Compute(*kv, *first, 40);
  first->MarkDegraded();
  Compute(*kv, *first, 40);
  EXPECT_EQ(kv->Attach(*Tokens(80), 80), 32u);
}

TEST(KvCache, ResumingNeedsTheSlidingWindowToo) {
  // Window 40: to go on at token 128 one needs the sliding blocks of 89 .. 127.
  const auto kv = Cache(Spec({kFull, kSliding}), {40, 9});
  const auto first = Tokens(140);
  for (int i = 0; i < 140; ++i) Compute(*kv, *first, 1);
  kv->Release(*first);
  const auto second = Tokens(140);
  ASSERT_EQ(kv->Attach(*second, 140), 128u);
  EXPECT_EQ(second->tables().sliding_begin, 5u);
  EXPECT_EQ(second->tables().sliding[4], kNoBlock);
  EXPECT_EQ(second->tables().full.size(), 8u);
  kv->Release(*second);

  // Another sequence pushes the oldest sliding blocks out: those of the beginning go first, the
  // full ones stay.
  const auto other = Tokens(64, 1000);
  Compute(*kv, *other, 64);
  EXPECT_GT(kv->stats().evictions, 0u);
  const auto shorter = Tokens(33);
  EXPECT_EQ(kv->Attach(*shorter, 33), 0u) << "full blocks alone are not enough";
  const auto third = Tokens(140);
  EXPECT_EQ(kv->Attach(*third, 140), 128u);
}

TEST(KvCache, ModelsWithOneKindOfLayers) {
  for (const LayerKind kind : {kFull, kSliding}) {
    const auto kv = Cache(Spec({kind, kind}), {kind == kFull ? 30u : 0u, kind == kFull ? 0u : 30u});
    const auto first = Tokens(100);
    Compute(*kv, *first, 100);
    EXPECT_EQ(first->tables().full.empty(), kind == kSliding);
    EXPECT_EQ(first->tables().sliding.empty(), kind == kFull);
    const auto second = Tokens(100);
    EXPECT_EQ(kv->Attach(*second, 100), 96u);
    kv->Release(*second);
    kv->Release(*first);
    EXPECT_EQ(kv->stats().used_bytes, 0u);
  }
}

TEST(KvCache, NothingIsReusedWhenSwitchedOff) {
  const auto kv = Cache(Spec({kFull, kSliding}), {20, 20}, /*prefix_cache=*/false);
  const auto first = Tokens(50);
  Compute(*kv, *first, 50);
  EXPECT_EQ(kv->Attach(*Tokens(50), 50), 0u);
  kv->Release(*first);
  EXPECT_EQ(kv->stats().full.idle_count, 0u);
}

TEST(KvCache, ForgetsNodesTogetherWithTheirBlocks) {
  const auto kv = Cache(Spec({kFull, kSliding}), {10, 10});
  for (TokenId first : {0, 1000, 2000, 3000}) {
    const auto sequence = Tokens(150, first);
    for (int i = 0; i < 15; ++i) Compute(*kv, *sequence, 10);
    kv->Release(*sequence);
    // A root and the nodes of at most 10 blocks of each group.
    EXPECT_LE(kv->prefix_cache().node_count(), 21u);
  }
  EXPECT_EQ(kv->stats().full.idle_count + kv->stats().full.free_count, 10u);
}

TEST(KvCache, CountsLookups) {
  const auto kv = Cache(Spec({kFull}), {20, 0});
  kv->CountPrefixLookup(100, 48);
  kv->CountPrefixLookup(10, 0);
  EXPECT_EQ(kv->stats().prefix_query_tokens, 110u);
  EXPECT_EQ(kv->stats().prefix_hit_tokens, 48u);
}

TEST(KvCache, WhatMayBeSpoiltIsFoundByNobody) {
  for (const auto& kinds : {std::vector{kFull, kSliding}, {kSliding}, {kFull}}) {
    const auto kv = Cache(Spec(kinds), {32, 32});
    const auto spoilt = Tokens(6 * kBlockTokens);
    Compute(*kv, *spoilt, 6 * kBlockTokens - 1);
    const auto user = Tokens(6 * kBlockTokens);
    const size_t reused = kv->Attach(*user, 6 * kBlockTokens);
    EXPECT_GT(reused, 0u);
    kv->Forget(*spoilt);
    kv->Release(*spoilt);
    const auto next = Tokens(6 * kBlockTokens);
    EXPECT_EQ(kv->Attach(*next, 6 * kBlockTokens), 0u);
    // Who had found it before keeps its blocks, and goes on.
    EXPECT_EQ(user->committed(), reused);
    Compute(*kv, *user, kBlockTokens - 1);
    kv->Release(*user);
    kv->Release(*next);
    const KvStats stats = kv->stats();
    EXPECT_EQ(stats.full.used_count + stats.sliding.used_count, 0u);
  }
}

}  // namespace
}  // namespace tessera::router
