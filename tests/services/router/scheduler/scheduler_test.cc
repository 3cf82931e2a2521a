#include "services/router/scheduler/scheduler.h"

#include <functional>
#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/services/router/scheduler/fake_model.h"

namespace tessera::router {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::Duration kNow = absl::Seconds(1);

SchedulerConfig Config() {
  SchedulerConfig config;
  config.batch_tokens_max = 64;
  config.prefill_chunk_max = 32;
  config.sequences_max = 8;
  config.logits_rows_max = 16;
  config.waiting_max = 4;
  config.admission_reserve = 0.0;
  config.context_max = 400;
  config.vocab = kFakeVocab;
  config.eos_token_ids = {3};
  return config;
}

// A scheduler, its cache and a fake model; requests ignore end tokens unless told otherwise.
struct Bench {
  explicit Bench(const SchedulerConfig& config, BlockCounts blocks = {100, 100})
      : spec(FakeSpec(/*window=*/40, true, true)) {
    KvCacheConfig kv_config;
    kv_config.blocks = blocks;
    kv = KvCache::Create(spec, kv_config).value();
    scheduler = std::make_unique<Scheduler>(config, *kv);
    model = std::make_unique<FakeModel>(spec, *kv);
  }

  static SequenceRequest Request(uint64_t id, size_t prompt_count, uint32_t max_tokens) {
    SequenceRequest request;
    request.id = SequenceId{id};
    for (size_t i = 0; i < prompt_count; ++i) {
      request.prompt.push_back(static_cast<TokenId>(RandomBits(id, i) % kFakeVocab));
    }
    request.sampling.max_tokens = max_tokens;
    request.sampling.ignore_eos = true;
    return request;
  }
  absl::Status Submit(const SequenceRequest& request) {
    requests.emplace(request.id, request);
    return scheduler->Submit(std::make_unique<Sequence>(request));
  }
  void Step() {
    const StepBatch batch = scheduler->NextBatch(kNow);
    if (!batch.empty()) scheduler->Commit(batch, model->Run(batch));
    model->PoisonFreeBlocks();
    for (auto& sequence : scheduler->TakeFinished()) finished.push_back(std::move(sequence));
  }
  void RunUntilIdle() {
    for (int i = 0; i < 5000 && !scheduler->idle(); ++i) Step();
    ASSERT_TRUE(scheduler->idle());
  }
  // Ids in the order in which they stand in the batch.
  static std::vector<uint64_t> Ids(const StepBatch& batch) {
    std::vector<uint64_t> ids;
    for (const auto& chunk : batch.chunks()) ids.push_back(ToIndex(chunk.sequence->id()));
    return ids;
  }
  void ExpectUndisturbed(const Sequence& sequence) {
    std::vector<TokenId> tokens = requests.at(sequence.id()).prompt;
    while (tokens.size() < sequence.token_count()) {
      tokens.push_back(FakeNextToken(spec, tokens, sequence.cache_salt()));
    }
    EXPECT_THAT(sequence.tokens(), ::testing::ElementsAreArray(tokens));
  }

  const ModelSpec spec;
  std::unique_ptr<KvCache> kv;
  std::unique_ptr<Scheduler> scheduler;
  std::unique_ptr<FakeModel> model;
  std::map<SequenceId, SequenceRequest> requests;
  std::vector<std::unique_ptr<Sequence>> finished;
};

TEST(SchedulerConfig, EachBadFieldIsNamed) {
  EXPECT_TRUE(Config().Validate().ok());
  const auto refused = [](const std::function<void(SchedulerConfig&)>& change,
                          const std::string& field) {
    SchedulerConfig config = Config();
    change(config);
    const absl::Status status = config.Validate();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(field));
  };
  refused([](auto& c) { c.batch_tokens_max = 0; }, "batch_tokens_max");
  refused([](auto& c) { c.prefill_chunk_max = 0; }, "prefill_chunk_max");
  refused([](auto& c) { c.sequences_max = 0; }, "sequences_max");
  refused([](auto& c) { c.waiting_max = 0; }, "waiting_max");
  refused([](auto& c) { c.context_max = 0; }, "context_max");
  refused([](auto& c) { c.vocab = 0; }, "vocab");
  refused([](auto& c) { c.logits_rows_max = 7; }, "logits_rows_max");
  refused([](auto& c) { c.admission_reserve = 1.0; }, "admission_reserve");
  refused([](auto& c) { c.admission_reserve = -0.1; }, "admission_reserve");
}

TEST(Scheduler, RefusesWhatCannotRun) {
  Bench bench(Config(), {10, 10});
  const auto refused = [&](const SequenceRequest& request, const std::string& words) {
    const absl::Status status = bench.Submit(request);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  };
  refused(Bench::Request(1, 0, 5), "prompt is empty");
  SequenceRequest request = Bench::Request(1, 5, 5);
  request.prompt[2] = kFakeVocab;
  refused(request, "token 2 is 50");
  request.prompt[2] = -1;
  refused(request, "token 2 is -1");
  request = Bench::Request(1, 5, 5);
  request.sampling.top_p = 0.0f;
  refused(request, "top_p");
  request = Bench::Request(1, 5, 1);
  request.produced = {1, 2};
  refused(request, "already produced");
  refused(Bench::Request(1, 400, 1), "context of 400");
  // 10 blocks hold 160 tokens; the last produced token needs no room.
  refused(Bench::Request(1, 100, 62), "need 11 blocks");
  EXPECT_TRUE(bench.Submit(Bench::Request(1, 100, 61)).ok());
  bench.RunUntilIdle();
  EXPECT_EQ(bench.finished[0]->produced_count(), 61u);
}

TEST(Scheduler, RefusesWhatCannotRunForWantOfSlidingBlocks) {
  // Window 40 needs ceil(39 / 16) + 1 = 4 sliding blocks whatever the length.
  Bench tight(Config(), {100, 3});
  EXPECT_EQ(tight.Submit(Bench::Request(1, 50, 10)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(tight.Submit(Bench::Request(1, 40, 9)).ok());
  Bench enough(Config(), {100, 4});
  EXPECT_TRUE(enough.Submit(Bench::Request(1, 300, 50)).ok());
  enough.RunUntilIdle();
  enough.ExpectUndisturbed(*enough.finished.at(0));
}

TEST(Scheduler, TheQueueIsBounded) {
  Bench bench(Config());
  for (uint64_t id = 0; id < 4; ++id) {
    ASSERT_TRUE(bench.Submit(Bench::Request(id, 5, 5)).ok());
  }
  EXPECT_EQ(bench.Submit(Bench::Request(9, 5, 5)).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(bench.Submit(Bench::Request(2, 5, 5)).code(), absl::StatusCode::kAlreadyExists);
  bench.Step();
  EXPECT_TRUE(bench.Submit(Bench::Request(9, 5, 5)).ok());
}

TEST(Scheduler, DecodeRowsThenChunksUpToTheLimits) {
  Bench bench(Config());
  ASSERT_TRUE(bench.Submit(Bench::Request(1, 10, 50)).ok());
  bench.Step();
  ASSERT_TRUE(bench.Submit(Bench::Request(2, 100, 50)).ok());
  ASSERT_TRUE(bench.Submit(Bench::Request(3, 100, 50)).ok());
  const StepBatch batch = bench.scheduler->NextBatch(kNow);
  EXPECT_THAT(Bench::Ids(batch), ElementsAre(1u, 2u, 3u));
  EXPECT_EQ(batch.decode_row_count(), 1u);
  EXPECT_EQ(batch.chunks()[1].row_count, 32u);  // prefill_chunk_max
  EXPECT_EQ(batch.chunks()[2].row_count, 31u);  // what batch_tokens_max leaves
  EXPECT_THAT(batch.samples(), SizeIs(1));
  bench.scheduler->Commit(batch, bench.model->Run(batch));
  bench.RunUntilIdle();
  for (const auto& sequence : bench.finished) bench.ExpectUndisturbed(*sequence);
}

TEST(Scheduler, LowerPriorityValuesThenArrivalComeFirst) {
  SchedulerConfig config = Config();
  config.sequences_max = 1;
  Bench bench(config);
  const int32_t priorities[] = {5, 0, 5, -1};
  for (uint64_t id = 0; id < 4; ++id) {
    SequenceRequest request = Bench::Request(id, 5, 2);
    request.priority = priorities[id];
    ASSERT_TRUE(bench.Submit(request).ok());
  }
  bench.RunUntilIdle();
  std::vector<uint64_t> order;
  for (const auto& sequence : bench.finished) order.push_back(ToIndex(sequence->id()));
  EXPECT_THAT(order, ElementsAre(3u, 1u, 0u, 2u));
}

TEST(Scheduler, TheYoungestGivesUpItsBlocksAndNobodyNotices) {
  // Three sequences of 32 + 64 tokens: 6 blocks each, 12 there.
  Bench bench(Config(), {12, 100});
  for (uint64_t id = 0; id < 3; ++id) ASSERT_TRUE(bench.Submit(Bench::Request(id, 31, 64)).ok());
  std::vector<uint64_t> victims;
  uint64_t preemptions = 0;
  while (!bench.scheduler->idle()) {
    bench.Step();
    if (bench.scheduler->stats().preemptions == preemptions) continue;
    preemptions = bench.scheduler->stats().preemptions;
    for (uint64_t id = 0; id < 3; ++id) {
      const Sequence* sequence = bench.scheduler->Find(SequenceId{id});
      if (sequence != nullptr && sequence->tables().full.empty()) victims.push_back(id);
    }
  }
  ASSERT_FALSE(victims.empty());
  EXPECT_EQ(victims[0], 2u);
  EXPECT_THAT(victims, ::testing::Not(::testing::Contains(0u)));
  EXPECT_GT(bench.scheduler->stats().recomputed_tokens, 0u);
  ASSERT_THAT(bench.finished, SizeIs(3));
  for (const auto& sequence : bench.finished) {
    EXPECT_EQ(sequence->produced_count(), 64u);
    bench.ExpectUndisturbed(*sequence);
  }
}

TEST(Scheduler, TheLowestPriorityIsPreemptedBeforeTheYoungest) {
  Bench bench(Config(), {12, 100});
  for (uint64_t id = 0; id < 3; ++id) {
    SequenceRequest request = Bench::Request(id, 31, 64);
    request.priority = id == 0 ? 7 : 0;
    ASSERT_TRUE(bench.Submit(request).ok());
  }
  while (bench.scheduler->stats().preemptions == 0) bench.Step();
  EXPECT_THAT(bench.scheduler->Find(SequenceId{0})->tables().full, IsEmpty());
  bench.RunUntilIdle();
}

TEST(Scheduler, AdmissionLeavesTheReserveAndWhatOthersStillNeed) {
  SchedulerConfig config = Config();
  config.admission_reserve = 0.25;  // 5 of 20 blocks
  Bench bench(config, {20, 100});
  ASSERT_TRUE(bench.Submit(Bench::Request(1, 111, 5)).ok());  // 7 blocks with the next token
  ASSERT_TRUE(bench.Submit(Bench::Request(2, 127, 5)).ok());  // 8
  ASSERT_TRUE(bench.Submit(Bench::Request(3, 10, 5)).ok());   // 1: would fit without the reserve
  bench.Step();
  EXPECT_EQ(bench.scheduler->stats().running, 2u);
  EXPECT_EQ(bench.scheduler->stats().waiting, 1u);
  EXPECT_EQ(bench.scheduler->stats().waiting_tokens, 10u);
  bench.RunUntilIdle();
  EXPECT_EQ(bench.scheduler->stats().preemptions, 0u);
  EXPECT_THAT(bench.finished, SizeIs(3));
}

TEST(Scheduler, AFailedStepIsComputedAgain) {
  Bench bench(Config());
  ASSERT_TRUE(bench.Submit(Bench::Request(1, 40, 10)).ok());
  for (int i = 0; i < 100 && !bench.scheduler->idle(); ++i) {
    const StepBatch batch = bench.scheduler->NextBatch(kNow);
    if (i % 2 == 0) {
      bench.model->Run(batch, /*garbage=*/77);
      const size_t committed = bench.scheduler->Find(SequenceId{1})->committed();
      bench.scheduler->Abort(batch);
      EXPECT_EQ(bench.scheduler->Find(SequenceId{1})->committed(), committed);
    } else {
      bench.scheduler->Commit(batch, bench.model->Run(batch));
    }
  }
  const auto finished = bench.scheduler->TakeFinished();
  ASSERT_THAT(finished, SizeIs(1));
  EXPECT_EQ(finished[0]->produced_count(), 10u);
  bench.ExpectUndisturbed(*finished[0]);
  EXPECT_GT(bench.scheduler->stats().steps_aborted, 5u);
}

TEST(Scheduler, StopsAtEndTokensUnlessIgnored) {
  Bench bench(Config());
  SequenceRequest request = Bench::Request(1, 10, 300);
  const TokenId first = FakeNextToken(bench.spec, request.prompt, "");
  request.sampling.stop_token_ids = {first};
  ASSERT_TRUE(bench.Submit(request).ok());
  request = Bench::Request(2, 10, 300);
  request.sampling.ignore_eos = false;
  ASSERT_TRUE(bench.Submit(request).ok());
  ASSERT_TRUE(bench.Submit(Bench::Request(3, 10, 300)).ok());
  bench.RunUntilIdle();
  ASSERT_THAT(bench.finished, SizeIs(3));
  EXPECT_EQ(bench.finished[0]->finish_reason(), FinishReason::kStop);
  EXPECT_THAT(bench.finished[0]->produced(), ElementsAre(first));
  EXPECT_EQ(bench.finished[1]->finish_reason(), FinishReason::kStop);
  EXPECT_EQ(bench.finished[1]->produced().back(), 3);
  EXPECT_EQ(bench.finished[2]->finish_reason(), FinishReason::kLength);
  EXPECT_THAT(bench.finished[2]->produced(), ::testing::Contains(3));
}

TEST(Scheduler, LengthIsMaxTokensOrTheContext) {
  SchedulerConfig config = Config();
  config.context_max = 20;
  Bench bench(config);
  ASSERT_TRUE(bench.Submit(Bench::Request(1, 10, 4)).ok());
  ASSERT_TRUE(bench.Submit(Bench::Request(2, 15, 100)).ok());
  ASSERT_TRUE(bench.Submit(Bench::Request(3, 20, 0)).ok());  // only the prompt
  bench.RunUntilIdle();
  std::map<uint64_t, size_t> counts;
  for (const auto& sequence : bench.finished) {
    EXPECT_EQ(sequence->finish_reason(), FinishReason::kLength);
    counts[ToIndex(sequence->id())] = sequence->produced_count();
  }
  EXPECT_EQ(counts, (std::map<uint64_t, size_t>{{1, 4}, {2, 5}, {3, 0}}));
}

TEST(Scheduler, CancelFreesBlocksAtOnceOrWithTheStep) {
  Bench bench(Config());
  ASSERT_TRUE(bench.Submit(Bench::Request(1, 40, 50)).ok());
  ASSERT_TRUE(bench.Submit(Bench::Request(2, 10, 50)).ok());
  EXPECT_FALSE(bench.scheduler->Cancel(SequenceId{99}));
  bench.Step();
  EXPECT_TRUE(bench.scheduler->Cancel(SequenceId{1}));
  EXPECT_FALSE(bench.scheduler->Cancel(SequenceId{1}));
  EXPECT_EQ(bench.scheduler->Find(SequenceId{1}), nullptr);
  EXPECT_EQ(bench.scheduler->stats().kv.full.used_count, 1u);

  const StepBatch batch = bench.scheduler->NextBatch(kNow);
  EXPECT_TRUE(bench.scheduler->Cancel(SequenceId{2}));
  EXPECT_FALSE(bench.scheduler->Cancel(SequenceId{2}));
  EXPECT_EQ(batch.chunks()[0].sequence->tables().full.size(), 1u);  // still readable
  bench.scheduler->Commit(batch, bench.model->Run(batch));
  EXPECT_EQ(bench.scheduler->stats().kv.used_bytes, 0u);
  const auto finished = bench.scheduler->TakeFinished();
  ASSERT_THAT(finished, SizeIs(2));
  for (const auto& sequence : finished) {
    EXPECT_EQ(sequence->finish_reason(), FinishReason::kCancelled);
    EXPECT_EQ(sequence->produced_count(), sequence->id() == SequenceId{1} ? 0u : 1u);
  }
}

TEST(Scheduler, AnErrorEndsOneSequenceOnly) {
  Bench bench(Config());
  for (uint64_t id = 1; id <= 3; ++id) ASSERT_TRUE(bench.Submit(Bench::Request(id, 10, 5)).ok());
  const StepBatch batch = bench.scheduler->NextBatch(kNow);
  std::vector<SampledToken> sampled = bench.model->Run(batch);
  sampled[1].status = absl::InternalError("logit 7 is nan");
  EXPECT_TRUE(bench.scheduler->Fail(SequenceId{3}, absl::UnavailableError("no shard")));
  bench.scheduler->Commit(batch, sampled);
  const auto finished = bench.scheduler->TakeFinished();
  ASSERT_THAT(finished, SizeIs(2));
  EXPECT_EQ(finished[0]->error().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(finished[0]->produced_count(), 0u);
  EXPECT_EQ(finished[1]->error().code(), absl::StatusCode::kUnavailable);
  bench.RunUntilIdle();
  EXPECT_EQ(bench.finished.at(0)->produced_count(), 5u);
}

TEST(Scheduler, DeadlinesEndRunningAndWaitingSequences) {
  SchedulerConfig config = Config();
  config.sequences_max = 1;
  Bench bench(config);
  for (uint64_t id = 1; id <= 2; ++id) {
    SequenceRequest request = Bench::Request(id, 10, 50);
    request.deadline = kNow + absl::Milliseconds(1);
    ASSERT_TRUE(bench.Submit(request).ok());
  }
  bench.Step();
  EXPECT_EQ(bench.scheduler->stats().running, 1u);
  EXPECT_TRUE(bench.scheduler->NextBatch(kNow + absl::Milliseconds(1)).empty());
  EXPECT_TRUE(bench.scheduler->idle());
  const auto finished = bench.scheduler->TakeFinished();
  ASSERT_THAT(finished, SizeIs(2));
  for (const auto& sequence : finished) {
    EXPECT_EQ(sequence->finish_reason(), FinishReason::kError);
    EXPECT_EQ(sequence->error().code(), absl::StatusCode::kDeadlineExceeded);
  }
  EXPECT_EQ(bench.scheduler->stats().kv.used_bytes, 0u);
}

TEST(Scheduler, APrefixIsReusedAndCounted) {
  Bench bench(Config());
  SequenceRequest request = Bench::Request(1, 50, 3);
  ASSERT_TRUE(bench.Submit(request).ok());
  bench.RunUntilIdle();
  request.id = SequenceId{2};
  ASSERT_TRUE(bench.Submit(request).ok());
  const StepBatch batch = bench.scheduler->NextBatch(kNow);
  EXPECT_EQ(batch.row_count(), 2u);
  EXPECT_THAT(batch.positions(), ElementsAre(48u, 49u));
  bench.scheduler->Commit(batch, bench.model->Run(batch));
  bench.RunUntilIdle();
  EXPECT_EQ(bench.finished[1]->cached_prompt_count(), 48u);
  EXPECT_EQ(bench.finished[0]->cached_prompt_count(), 0u);
  EXPECT_EQ(bench.scheduler->stats().kv.prefix_hit_tokens, 48u);
  EXPECT_EQ(bench.scheduler->stats().kv.prefix_query_tokens, 100u);
  bench.ExpectUndisturbed(*bench.finished[1]);
}

TEST(Scheduler, PromptLogitsAreComputedThoughThePrefixIsKnown) {
  Bench bench(Config());
  SequenceRequest request = Bench::Request(1, 50, 3);
  ASSERT_TRUE(bench.Submit(request).ok());
  bench.RunUntilIdle();
  request.id = SequenceId{2};
  request.wants_prompt_logits = true;
  ASSERT_TRUE(bench.Submit(request).ok());
  std::vector<uint32_t> positions;
  while (positions.size() < 50) {
    const StepBatch batch = bench.scheduler->NextBatch(kNow);
    ASSERT_FALSE(batch.empty());
    EXPECT_LE(batch.logits_rows().size(), 16u);  // logits_rows_max cuts the chunk
    for (const auto& asked : batch.prompt_logits()) {
      EXPECT_EQ(batch.positions()[batch.logits_rows()[asked.logits_index]], asked.position);
      positions.push_back(asked.position);
    }
    bench.scheduler->Commit(batch, bench.model->Run(batch));
  }
  for (uint32_t i = 0; i < 50; ++i) EXPECT_EQ(positions[i], i);
  bench.RunUntilIdle();
}

TEST(Scheduler, AResumedSequenceGoesOnWhereItWas) {
  Bench bench(Config());
  ASSERT_TRUE(bench.Submit(Bench::Request(1, 30, 20)).ok());
  bench.RunUntilIdle();
  SequenceRequest request = Bench::Request(1, 30, 20);
  const auto produced = bench.finished[0]->produced();
  request.produced.assign(produced.begin(), produced.begin() + 12);
  ASSERT_TRUE(bench.Submit(request).ok());
  bench.RunUntilIdle();
  EXPECT_THAT(bench.finished[1]->produced(), ::testing::ElementsAreArray(produced));
  // Nothing left to produce: ends with what it brought.
  request.produced.assign(produced.begin(), produced.end());
  ASSERT_TRUE(bench.Submit(request).ok());
  bench.RunUntilIdle();
  EXPECT_EQ(bench.finished[2]->finish_reason(), FinishReason::kLength);
  EXPECT_EQ(bench.finished[2]->produced_count(), 20u);
}

TEST(Scheduler, GivesAllBlocksBackWhenItGoes) {
  Bench bench(Config());
  ASSERT_TRUE(bench.Submit(Bench::Request(1, 30, 20)).ok());
  bench.Step();
  EXPECT_GT(bench.kv->stats().used_bytes, 0u);
  bench.scheduler.reset();
  EXPECT_EQ(bench.kv->stats().used_bytes, 0u);
}

TEST(SchedulerDeathTest, OneBatchAtATime) {
  Bench bench(Config());
  ASSERT_TRUE(bench.Submit(Bench::Request(1, 30, 20)).ok());
  const StepBatch batch = bench.scheduler->NextBatch(kNow);
  EXPECT_DEATH(bench.scheduler->NextBatch(kNow), "batch_is_out_");
  EXPECT_DEATH(bench.scheduler->TakeFinished(), "batch_is_out_");
  bench.scheduler->Abort(batch);
  EXPECT_DEATH(bench.scheduler->Abort(batch), "batch_is_out_");
}

}  // namespace
}  // namespace tessera::router
