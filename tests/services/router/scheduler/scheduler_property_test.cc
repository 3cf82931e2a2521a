// Random lives of many sequences against the run that nothing disturbs. A failure prints its seed;
// TESSERA_SEED=<seed> runs that one alone.

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "services/router/scheduler/scheduler.h"
#include "tests/services/router/scheduler/fake_model.h"

namespace tessera::router {
namespace {

// What happened in all runs together: a property proved on cases that never came up is no proof.
struct Totals {
  uint64_t finished = 0;
  uint64_t preemptions = 0;
  uint64_t prefix_hit_tokens = 0;
  uint64_t evictions = 0;
  uint64_t aborts = 0;
  uint64_t cancels = 0;
  uint64_t expired = 0;
  uint64_t window_drops = 0;
  uint64_t sampling_errors = 0;
  uint64_t mixed_steps = 0;
  uint64_t stops = 0;
  uint64_t resumed = 0;
};

class Life {
 public:
  Life(uint64_t seed, bool has_full, bool has_sliding, Totals& totals)
      : random_(seed),
        totals_(totals),
        spec_(FakeSpec(1 + random_.Below(70), has_full, has_sliding)) {
    config_.batch_tokens_max = 1 + random_.Below(60);
    config_.prefill_chunk_max = 1 + random_.Below(50);
    config_.sequences_max = 1 + random_.Below(12);
    config_.logits_rows_max = config_.sequences_max + random_.Below(20);
    config_.waiting_max = 200;
    config_.admission_reserve = random_.Below(2) == 0 ? 0.0 : 0.1;
    config_.context_max = 60 + random_.Below(100);
    config_.vocab = kFakeVocab;
    config_.eos_token_ids = {3};
    KvCacheConfig kv_config;
    kv_config.prefix_cache = random_.Below(5) != 0;
    const BlockCounts one =
        KvGeometry::Of(spec_, kv_config.type).SequenceBlocks(config_.context_max, 1);
    kv_config.blocks = {one.full + random_.Below(3 * one.full + 1),
                        one.sliding + random_.Below(3 * one.sliding + 1)};
    kv_ = KvCache::Create(spec_, kv_config).value();
    model_ = std::make_unique<FakeModel>(spec_, *kv_);
    scheduler_ = std::make_unique<Scheduler>(config_, *kv_);
  }

  void Run() {
    const size_t sequence_count = 10 + random_.Below(30);
    for (int step = 0; step < 20000; ++step) {
      if (next_id_ < sequence_count && random_.Below(3) == 0) Submit();
      if (random_.Below(25) == 0) CancelOne();
      Step();
      if (::testing::Test::HasFailure()) return;
      if (next_id_ == sequence_count && scheduler_->idle()) break;
    }
    ASSERT_TRUE(scheduler_->idle()) << "sequences never finished";
    ASSERT_EQ(ended_count_, sequence_count);
    const SchedulerStats stats = scheduler_->stats();
    ASSERT_EQ(stats.kv.used_bytes, 0u);
    ASSERT_EQ(stats.kv.full.free_count + stats.kv.full.idle_count, stats.kv.full.block_count);
    totals_.preemptions += stats.preemptions;
    totals_.prefix_hit_tokens += stats.kv.prefix_hit_tokens;
    totals_.evictions += stats.kv.evictions;
  }

 private:
  std::vector<TokenId> RandomTokens(size_t count, uint64_t seed) {
    std::vector<TokenId> tokens;
    for (size_t i = 0; i < count; ++i) {
      tokens.push_back(static_cast<TokenId>(RandomBits(seed, i) % kFakeVocab));
    }
    return tokens;
  }

  void Submit() {
    SequenceRequest request;
    request.id = SequenceId{next_id_++};
    // Most prompts begin like one of three templates.
    const size_t prompt_count = 1 + random_.Below(config_.context_max - 5);
    const size_t common_count = random_.Below(prompt_count + 1);
    request.prompt = RandomTokens(common_count, random_.Below(3));
    const auto own = RandomTokens(prompt_count - common_count, random_.Bits());
    request.prompt.insert(request.prompt.end(), own.begin(), own.end());
    request.priority = static_cast<int32_t>(random_.Below(3));
    request.cache_salt = random_.Below(4) == 0 ? "tenant" : "";
    request.wants_prompt_logits = random_.Below(5) == 0;
    request.sampling.max_tokens = static_cast<uint32_t>(random_.Below(60));
    request.sampling.ignore_eos = random_.Below(2) == 0;
    if (random_.Below(8) == 0) {
      request.deadline = absl::Seconds(step_count_ + random_.Below(150));
    }
    if (request.sampling.max_tokens > 3 && random_.Below(6) == 0) {
      std::vector<TokenId> all = request.prompt;  // begins with what an earlier router produced
      for (int i = 0; i < 3; ++i) {
        all.push_back(FakeNextToken(spec_, all, request.cache_salt));
        request.produced.push_back(all.back());
      }
      ++totals_.resumed;
    }
    requests_[request.id] = request;
    ASSERT_TRUE(scheduler_->Submit(std::make_unique<Sequence>(request)).ok());
  }

  void CancelOne() {
    if (next_id_ == 0) return;
    const SequenceId id{random_.Below(next_id_)};
    if (scheduler_->Cancel(id)) ++totals_.cancels;
  }

  void Step() {
    ++step_count_;
    const StepBatch batch = scheduler_->NextBatch(absl::Seconds(step_count_));
    CheckBatch(batch);
    CheckReferences();
    if (!batch.empty()) {
      const uint64_t fate = random_.Below(12);
      if (fate == 0) {
        model_->Run(batch, /*garbage=*/random_.Bits() | 1);
        scheduler_->Abort(batch);
        ++totals_.aborts;
      } else {
        if (fate == 1) CancelOne();                             // while the batch is out
        if (fate == 2) model_->Run(batch, random_.Bits() | 1);  // failed, then computed again
        if (random_.Below(60) == 0) batch.chunks()[0].sequence->MarkDegraded();
        std::vector<SampledToken> sampled = model_->Run(batch);
        if (!sampled.empty() && random_.Below(100) == 0) {
          sampled[0].status = absl::InternalError("logit 5 is nan");
        }
        for (const auto& asked : batch.prompt_logits()) {
          ++prompt_logits_[asked.sequence->id()][asked.position];
        }
        scheduler_->Commit(batch, sampled);
      }
    }
    model_->PoisonFreeBlocks();
    CheckReferences();
    for (const auto& sequence : scheduler_->TakeFinished()) CheckEnded(*sequence);
  }

  void CheckBatch(const StepBatch& batch) {
    ASSERT_LE(batch.row_count(), config_.batch_tokens_max);
    ASSERT_LE(batch.logits_rows().size(), config_.logits_rows_max);
    ASSERT_LE(scheduler_->stats().running, config_.sequences_max);
    ASSERT_TRUE(std::is_sorted(batch.logits_rows().begin(), batch.logits_rows().end()));
    std::set<const Sequence*> seen;
    size_t row = 0;
    for (const StepBatch::Chunk& chunk : batch.chunks()) {
      ASSERT_TRUE(seen.insert(chunk.sequence).second);
      ASSERT_EQ(chunk.row_begin, row);
      ASSERT_LE(chunk.row_count, config_.prefill_chunk_max);
      row += chunk.row_count;
    }
    ASSERT_EQ(row, batch.row_count());
    if (batch.decode_row_count() > 0 && batch.decode_row_count() < row) ++totals_.mixed_steps;
  }

  // Every block is owned exactly by the tables that name it and, if remembered, by the cache.
  void CheckReferences() {
    const BlockCounts counts = kv_->block_counts();
    std::vector<uint32_t> full(counts.full), sliding(counts.sliding);
    for (const auto& [id, request] : requests_) {
      const Sequence* sequence = scheduler_->Find(id);
      if (sequence == nullptr) continue;
      for (const uint32_t block : sequence->tables().full) ++full.at(block);
      for (const uint32_t block : sequence->tables().sliding) {
        if (block != kNoBlock) {
          ++sliding.at(block);
        } else {
          ++totals_.window_drops;
        }
      }
    }
    CheckGroup(KvGroup::kFull, full);
    CheckGroup(KvGroup::kSliding, sliding);
  }

  void CheckGroup(KvGroup group, const std::vector<uint32_t>& owners) {
    size_t idle_count = 0;
    for (uint32_t block = 0; block < owners.size(); ++block) {
      const bool remembered = kv_->prefix_cache().Remembers(group, block);
      ASSERT_EQ(kv_->allocator(group).ref_count(block), owners[block] + (remembered ? 1 : 0))
          << "block " << block;
      if (remembered && owners[block] == 0) ++idle_count;
    }
    ASSERT_EQ(kv_->prefix_cache().idle_count(group), idle_count);
  }

  void CheckEnded(const Sequence& sequence) {
    ++ended_count_;
    ++totals_.finished;
    const SequenceRequest& request = requests_.at(sequence.id());
    const FinishReason reason = sequence.finish_reason();
    if (reason == FinishReason::kError) {
      (absl::IsDeadlineExceeded(sequence.error()) ? totals_.expired : totals_.sampling_errors)++;
    }
    if (reason == FinishReason::kStop) {
      ++totals_.stops;
      ASSERT_EQ(sequence.produced().back(), 3);
      ASSERT_FALSE(request.sampling.ignore_eos);
    }
    if (reason == FinishReason::kLength) {
      ASSERT_TRUE(sequence.produced_count() == request.sampling.max_tokens ||
                  sequence.token_count() == config_.context_max);
    }
    if (sequence.degraded()) return;  // its numbers are wrong on purpose
    std::vector<TokenId> expected = request.prompt;
    while (expected.size() < sequence.token_count()) {
      expected.push_back(FakeNextToken(spec_, expected, request.cache_salt));
    }
    ASSERT_EQ(std::vector<TokenId>(sequence.tokens().begin(), sequence.tokens().end()), expected)
        << "sequence " << ToIndex(sequence.id()) << ", " << NameOf(reason);
    if (reason != FinishReason::kLength && reason != FinishReason::kStop) return;
    if (!request.wants_prompt_logits) return;
    ASSERT_EQ(prompt_logits_[sequence.id()].size(), request.prompt.size());
    for (const auto& [position, count] : prompt_logits_[sequence.id()]) ASSERT_EQ(count, 1);
  }

  Random random_;
  Totals& totals_;
  const ModelSpec spec_;
  SchedulerConfig config_;
  std::unique_ptr<KvCache> kv_;
  std::unique_ptr<FakeModel> model_;
  std::unique_ptr<Scheduler> scheduler_;
  std::map<SequenceId, SequenceRequest> requests_;
  std::map<SequenceId, std::map<uint32_t, int>> prompt_logits_;
  uint64_t next_id_ = 0;
  size_t ended_count_ = 0;
  int64_t step_count_ = 0;
};

// Runs `life_count` seeds; TESSERA_SEED in the environment runs only that one.
Totals RunLives(uint64_t life_count, bool has_full, bool has_sliding) {
  Totals totals;
  const char* chosen = std::getenv("TESSERA_SEED");
  const uint64_t first = chosen != nullptr ? std::strtoull(chosen, nullptr, 10) : 1;
  const uint64_t last = chosen != nullptr ? first : life_count;
  for (uint64_t seed = first; seed <= last; ++seed) {
    SCOPED_TRACE("TESSERA_SEED=" + std::to_string(seed));
    Life(seed, has_full, has_sliding, totals).Run();
    if (::testing::Test::HasFailure()) break;
  }
  return totals;
}

TEST(SchedulerProperty, BothKindsOfLayers) {
  const Totals totals = RunLives(150, /*has_full=*/true, /*has_sliding=*/true);
  if (std::getenv("TESSERA_SEED") != nullptr) return;
  EXPECT_GT(totals.finished, 1000u);
  EXPECT_GT(totals.preemptions, 100u);
  EXPECT_GT(totals.prefix_hit_tokens, 1000u);
  EXPECT_GT(totals.evictions, 1000u);
  EXPECT_GT(totals.aborts, 100u);
  EXPECT_GT(totals.cancels, 100u);
  EXPECT_GT(totals.expired, 10u);
  EXPECT_GT(totals.window_drops, 1000u);
  EXPECT_GT(totals.sampling_errors, 10u);
  EXPECT_GT(totals.mixed_steps, 100u);
  EXPECT_GT(totals.stops, 100u);
  EXPECT_GT(totals.resumed, 10u);
}

TEST(SchedulerProperty, OnlyFullLayers) {
  const Totals totals = RunLives(50, /*has_full=*/true, /*has_sliding=*/false);
  if (std::getenv("TESSERA_SEED") != nullptr) return;
  EXPECT_GT(totals.preemptions, 20u);
  EXPECT_GT(totals.prefix_hit_tokens, 300u);
  EXPECT_EQ(totals.window_drops, 0u);
}

TEST(SchedulerProperty, OnlySlidingLayers) {
  const Totals totals = RunLives(50, /*has_full=*/false, /*has_sliding=*/true);
  if (std::getenv("TESSERA_SEED") != nullptr) return;
  EXPECT_GT(totals.preemptions, 20u);
  EXPECT_GT(totals.prefix_hit_tokens, 300u);
  EXPECT_GT(totals.window_drops, 300u);
}

}  // namespace
}  // namespace tessera::router
