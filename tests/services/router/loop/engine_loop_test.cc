#include "services/router/loop/engine_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/match.h"
#include "tests/support/router_under_test.h"
#include "tests/support/wait_until.h"

namespace tessera::router {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using testing::EventReader;
using ::testing::Field;
using testing::FlakyExperts;
using testing::GreedyRequest;
using ::testing::HasSubstr;
using testing::WaitUntil;
using wire::FinishKind;
using wire::GenerationParams;

class EngineLoopTest : public ::testing::Test {
 protected:
  void SetUp() override { router_.loop().Start(); }
  std::shared_ptr<EventReader> Submit(GenerationParams params) {
    auto reader = EventReader::Submit(router_.loop(), std::move(params));
    EXPECT_TRUE(reader.ok()) << reader.status();
    return *reader;
  }
  std::vector<TokenId> Tokens(GenerationParams params) {
    const auto reader = Submit(std::move(params));
    EXPECT_EQ(reader->AwaitFinished().error, absl::OkStatus());
    return reader->tokens();
  }
  // The (layer, expert) units that a request with a prompt of one token visits.
  std::set<FlakyExperts::Unit> UnitsOf(GenerationParams params) {
    params.want_routed_experts = true;
    const auto reader = Submit(std::move(params));
    reader->AwaitFinished();
    const ModelSpec& spec = router_.spec();
    std::set<FlakyExperts::Unit> units;
    for (const wire::TokenOutput& output : reader->outputs()) {
      EXPECT_EQ(output.routed_experts.size(), spec.moe_layer_count() * spec.top_k);
      for (size_t i = 0; i < output.routed_experts.size(); ++i) {
        const size_t layer = spec.dense_layer_count + i / spec.top_k;
        units.insert({static_cast<uint32_t>(layer), output.routed_experts[i]});
      }
    }
    return units;
  }
  // A unit that `a` needs and `b` does not.
  FlakyExperts::Unit UnitOfOnly(const GenerationParams& a, const GenerationParams& b) {
    const std::set<FlakyExperts::Unit> of_b = UnitsOf(b);
    for (const FlakyExperts::Unit& unit : UnitsOf(a)) {
      if (!of_b.contains(unit)) return unit;
    }
    ADD_FAILURE() << "both visit the same experts";
    return {};
  }

  const GenerationParams a_ = GreedyRequest("a", {3}, 3);
  const GenerationParams b_ = GreedyRequest("b", {70}, 3);
  testing::RouterUnderTest router_;
};

TEST_F(EngineLoopTest, ProducesTokensAndAccounts) {
  const auto reader = Submit(GreedyRequest("a", {1, 2, 3}, 5));
  const wire::FinishedEvent& end = reader->AwaitFinished();
  EXPECT_EQ(end.kind, FinishKind::kLength);
  EXPECT_EQ(end.prompt_tokens, 3u);
  EXPECT_EQ(end.produced_tokens, 5u);
  EXPECT_EQ(reader->tokens().size(), 5u);
  EXPECT_EQ(reader->started().prompt_tokens, 3u);
  EXPECT_EQ(Tokens(GreedyRequest("b", {1, 2, 3}, 5)), reader->tokens());
}

TEST_F(EngineLoopTest, TheOthersGoOnWhileOneWaitsForAnExpert) {
  const std::vector<TokenId> expected = Tokens(a_);
  const FlakyExperts::Unit unit = UnitOfOnly(a_, b_);
  router_.experts().Lose({unit});
  const auto a = Submit(a_);
  router_.experts().AwaitFailures(1);
  EXPECT_EQ(Tokens(b_).size(), 3u);
  EXPECT_FALSE(a->finished());
  router_.experts().Restore();
  EXPECT_EQ(a->AwaitFinished().error, absl::OkStatus());
  EXPECT_EQ(a->tokens(), expected) << "no token lost, none twice";
  EXPECT_FALSE(a->AwaitFinished().degraded);
}

TEST_F(EngineLoopTest, AParkedRequestEndsAtItsDeadline) {
  router_.experts().Lose({UnitOfOnly(a_, b_)});
  GenerationParams late = a_;
  late.deadline = absl::Seconds(600);
  const auto a = Submit(late);
  router_.experts().AwaitFailures(1);
  router_.clock.Advance(absl::Seconds(601));
  EXPECT_EQ(a->AwaitFinished().error.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(EngineLoopTest, WithoutADeadlineItWaitsSoLong) {
  const FlakyExperts::Unit unit = UnitOfOnly(a_, b_);
  router_.experts().Lose({unit});
  const auto a = Submit(a_);
  router_.experts().AwaitFailures(1);
  router_.experts().Lose({unit});  // the cluster changed and still lacks it: tried again
  router_.experts().AwaitFailures(2);
  EXPECT_FALSE(a->finished());
  router_.clock.Advance(absl::Seconds(61));
  const wire::FinishedEvent& end = a->AwaitFinished();
  EXPECT_EQ(end.error.code(), absl::StatusCode::kUnavailable);
  EXPECT_GT(end.retry_after, absl::ZeroDuration());
  EXPECT_TRUE(router_.loop().AwaitIdle(absl::Seconds(10)));
}

TEST_F(EngineLoopTest, OnlyWhoAllowsItGoesOnWithoutAnExpert) {
  const std::vector<TokenId> expected = Tokens(a_);
  router_.experts().Lose({UnitOfOnly(a_, b_)});
  const auto strict = Submit(a_);
  router_.experts().AwaitFailures(1);
  GenerationParams allowed = a_;
  allowed.degraded_allowed = true;
  const auto degraded = Submit(allowed);
  const wire::FinishedEvent& end = degraded->AwaitFinished();
  EXPECT_EQ(end.error, absl::OkStatus());
  EXPECT_TRUE(end.degraded);
  EXPECT_TRUE(degraded->outputs().back().degraded);
  EXPECT_EQ(degraded->tokens().size(), 3u);
  EXPECT_FALSE(strict->finished());
  router_.experts().Restore();
  EXPECT_EQ(strict->AwaitFinished().error, absl::OkStatus());
  EXPECT_EQ(strict->tokens(), expected);
  EXPECT_THAT(strict->outputs(), Each(Field(&wire::TokenOutput::degraded, false)));
  // What needs no missing expert is not degraded, though it would have been allowed.
  GenerationParams fine = a_;
  fine.degraded_allowed = true;
  const auto whole = Submit(fine);
  EXPECT_FALSE(whole->AwaitFinished().degraded);
  EXPECT_EQ(whole->tokens(), expected);
}

TEST_F(EngineLoopTest, MoreMissingThanTheGateCanDoWithoutIsWaitedFor) {
  std::vector<FlakyExperts::Unit> units;
  const ModelSpec& spec = router_.spec();
  for (uint32_t expert = 0; expert + spec.top_k <= spec.expert_count; ++expert) {
    units.push_back({static_cast<uint32_t>(spec.dense_layer_count), expert});
  }
  router_.experts().Lose(units);
  GenerationParams allowed = a_;
  allowed.degraded_allowed = true;
  const auto a = Submit(allowed);
  router_.experts().AwaitFailures(2);
  EXPECT_FALSE(a->finished());
  router_.experts().Restore();
  EXPECT_EQ(a->AwaitFinished().error, absl::OkStatus());
}

TEST_F(EngineLoopTest, ACancelTakesEffectWithinAStep) {
  router_.experts().Close();
  const auto a = Submit(GreedyRequest("a", {1, 2, 3}, 100));
  router_.experts().AwaitHeld();
  EXPECT_TRUE(router_.loop().Cancel("a"));
  EXPECT_FALSE(router_.loop().Cancel("b"));
  router_.experts().Open();
  const wire::FinishedEvent& end = a->AwaitFinished();
  EXPECT_EQ(end.kind, FinishKind::kCancelled);
  EXPECT_LE(a->tokens().size(), 1u);
  EXPECT_TRUE(router_.loop().AwaitIdle(absl::Seconds(10)));
  Tokens(b_);
  router_.loop().Stop();
  EXPECT_EQ(router_.board.Read().kv_used_ratio, 0.0f);
}

TEST_F(EngineLoopTest, AWrongAnswerEndsTheRequestsOfItsStepOnly) {
  router_.experts().FailOnce(absl::InternalError("a wrong answer"));
  const auto a = Submit(a_);
  EXPECT_EQ(a->AwaitFinished().error.code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(router_.loop().health().ok());
  EXPECT_EQ(Tokens(b_).size(), 3u);
  router_.experts().FailOnce(absl::DataLossError("the file changed"));
  EXPECT_EQ(Submit(a_)->AwaitFinished().error.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(router_.loop().health().code(), absl::StatusCode::kDataLoss);
}

TEST_F(EngineLoopTest, ALateAnswerIsAskedForAgain) {
  const std::vector<TokenId> expected = Tokens(a_);
  router_.experts().FailOnce(absl::DeadlineExceededError("a shard is slow"));
  const auto a = Submit(a_);
  router_.experts().AwaitFailures(1);
  router_.experts().Restore();  // the cluster changed
  EXPECT_EQ(a->AwaitFinished().error, absl::OkStatus());
  EXPECT_EQ(a->tokens(), expected);
}

TEST_F(EngineLoopTest, ALateAnswerIsNoReasonToLeaveExpertsOut) {
  const std::vector<TokenId> expected = Tokens(a_);
  router_.experts().FailOnce(absl::DeadlineExceededError("a shard is slow"));
  GenerationParams allowed = a_;
  allowed.degraded_allowed = true;
  const auto a = Submit(allowed);
  EXPECT_TRUE(WaitUntil([&] {
    return absl::StrContains(router_.registry.Text(), "\ntessera_router_sequences_parked 1");
  })) << "no step follows at once";
  EXPECT_FALSE(a->finished());
  router_.clock.Advance(absl::Seconds(1));
  const wire::FinishedEvent& end = a->AwaitFinished();
  EXPECT_EQ(end.error, absl::OkStatus());
  EXPECT_FALSE(end.degraded);
  EXPECT_EQ(a->tokens(), expected);
}

TEST_F(EngineLoopTest, AResumedRequestGoesOnAsIfNothingHadHappened) {
  GenerationParams params = GreedyRequest("a", {5, 6, 7}, 12);
  params.sampling.temperature = 1;
  params.sampling.seed = 11;
  params.sampling.repetition_penalty = 1.3f;
  params.sampling.frequency_penalty = 0.5f;
  params.logprobs = 2;
  const auto whole = Submit(params);
  whole->AwaitFinished();
  const std::vector<wire::TokenOutput> all = whole->outputs();
  ASSERT_EQ(all.size(), 12u);
  for (size_t i = 0; i < 5; ++i) params.produced.push_back(all[i].token);
  params.no_prefix_cache = true;
  const auto resumed = Submit(params);
  EXPECT_EQ(resumed->AwaitFinished().produced_tokens, 12u);
  EXPECT_EQ(resumed->first_index(), 5u);
  EXPECT_EQ(resumed->outputs(), std::vector<wire::TokenOutput>(all.begin() + 5, all.end()))
      << "tokens and log probabilities, to the bit";
}

TEST_F(EngineLoopTest, PromptLogprobsAreThoseOfTheTokensThatFollow) {
  GenerationParams params = GreedyRequest("a", {5, 6, 7, 8}, 1);
  params.want_prompt_logprobs = true;
  params.logprobs = 1;
  const auto reader = Submit(params);
  reader->AwaitFinished();
  const std::vector<wire::TokenOutput> prompt = reader->started().prompt;
  ASSERT_EQ(prompt.size(), 4u);
  EXPECT_FALSE(prompt[0].logprob.has_value());
  EXPECT_EQ(prompt[0].token, 5);
  // The first produced token of a shorter prompt is scored from the same row.
  GenerationParams shorter = GreedyRequest("b", {5, 6}, 1);
  shorter.logprobs = 1;
  const auto second = Submit(shorter);
  second->AwaitFinished();
  ASSERT_EQ(prompt[2].top.size(), 1u);
  EXPECT_EQ(prompt[2].token, 7);
  EXPECT_EQ(prompt[2].top[0].token, second->outputs()[0].token);
  EXPECT_EQ(prompt[2].top[0].logprob, second->outputs()[0].logprob);
}

TEST_F(EngineLoopTest, TheEmptyAnswer) {
  const auto reader = Submit(GreedyRequest("a", {1, 2, 3}, 0));
  EXPECT_EQ(reader->AwaitFinished().kind, FinishKind::kLength);
  EXPECT_EQ(reader->started().prompt_tokens, 3u);
  EXPECT_TRUE(reader->tokens().empty());
}

TEST_F(EngineLoopTest, OnlyAllowedTokensAreSampled) {
  GenerationParams params = GreedyRequest("a", {1, 2}, 4);
  params.sampling.allowed = {9};
  EXPECT_THAT(Tokens(params), ElementsAre(9, 9, 9, 9));
}

TEST_F(EngineLoopTest, RefusalsSayWhatWouldBeRight) {
  const auto refusal = [this](auto change) {
    GenerationParams params = a_;
    change(params);
    const auto reader = EventReader::Submit(router_.loop(), params);
    EXPECT_EQ(reader.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(reader.status().message());
  };
  EXPECT_THAT(refusal([](GenerationParams& p) {
                p.prompt = {1, 96};
              }),
              HasSubstr("prompt_token_ids[1] is 96; tokens of this model are 0 to 95"));
  EXPECT_THAT(refusal([](GenerationParams& p) {
                p.produced = {1, 2, 3, 4};
              }),
              HasSubstr("tokens_max, which is 3"));
  EXPECT_THAT(refusal([](GenerationParams& p) { p.tokens_min = 4; }), HasSubstr("tokens_min is 4"));
  EXPECT_THAT(refusal([](GenerationParams& p) { p.stop_tokens = {1000}; }),
              HasSubstr("stop_token_ids[0] is 1000"));
  EXPECT_THAT(refusal([](GenerationParams& p) { p.sampling.allowed = {-1}; }),
              HasSubstr("allowed_token_ids[0] is -1"));
  EXPECT_THAT(refusal([](GenerationParams& p) { p.logprobs = 5000; }), HasSubstr("logprobs"));
  const auto long_one = Submit(GreedyRequest("a", std::vector<TokenId>(200, 1), 3));
  EXPECT_THAT(std::string(long_one->AwaitFinished().error.message()),
              HasSubstr("more than the context of 128"));
}

TEST_F(EngineLoopTest, AFullRouterSaysComeBack) {
  router_.experts().Close();
  std::vector<std::shared_ptr<EventReader>> readers;
  readers.push_back(Submit(GreedyRequest("first", {1, 2}, 2)));
  router_.experts().AwaitHeld();
  absl::Status refused;
  while (refused.ok()) {
    auto reader = EventReader::Submit(router_.loop(), GreedyRequest("more", {1, 2}, 2));
    if (reader.ok()) readers.push_back(*std::move(reader));
    refused = reader.status();
  }
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(readers.size(), 17u) << "one being computed, 16 on their way";
  router_.experts().Open();
  for (const auto& reader : readers) EXPECT_EQ(reader->AwaitFinished().error, absl::OkStatus());
}

TEST_F(EngineLoopTest, DrainingFinishesWhatRunsAndStopEndsTheRest) {
  router_.experts().Close();
  const auto a = Submit(GreedyRequest("a", {1, 2, 3}, 100));
  router_.experts().AwaitHeld();
  router_.loop().Drain();
  EXPECT_TRUE(router_.board.Read().draining);
  const auto refused = EventReader::Submit(router_.loop(), b_);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(router_.loop().AwaitIdle(absl::Milliseconds(1)));
  Thread stopping("stop", [this](const std::stop_token&) { router_.loop().Stop(); });
  router_.experts().Open();
  stopping.Join();
  const wire::FinishedEvent& end = a->AwaitFinished();
  EXPECT_TRUE(end.error.code() == absl::StatusCode::kUnavailable || end.produced_tokens == 100u);
  EXPECT_TRUE(router_.loop().AwaitIdle(absl::ZeroDuration()));
}

}  // namespace
}  // namespace tessera::router
