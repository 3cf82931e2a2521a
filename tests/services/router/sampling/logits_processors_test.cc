#include "services/router/sampling/logits_processors.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tessera::router {
namespace {

using ::testing::ElementsAre;

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

SequenceRequest Request(std::vector<TokenId> prompt, std::vector<TokenId> produced) {
  SequenceRequest request;
  request.prompt = std::move(prompt);
  request.produced = std::move(produced);
  return request;
}

std::vector<float> Processed(const SequenceRequest& request, std::vector<float> logits) {
  Sequence sequence(request);
  std::vector<uint64_t> words;
  EXPECT_TRUE(NeedsProcessing(sequence));
  ApplyProcessors(sequence, logits, words);
  return logits;
}

TEST(LogitsProcessors, NothingAskedNothingDone) {
  EXPECT_FALSE(NeedsProcessing(Sequence(Request({1}, {2}))));
}

TEST(LogitsProcessors, RepetitionCountsPromptAndProduced) {
  SequenceRequest request = Request({0, 1}, {2, 2});
  request.sampling.repetition_penalty = 2.0f;
  EXPECT_THAT(Processed(request, {4.0f, -4.0f, 6.0f, 8.0f, -8.0f}),
              ElementsAre(2.0f, -8.0f, 3.0f, 8.0f, -8.0f));
}

TEST(LogitsProcessors, PresenceAndFrequencyCountProducedOnly) {
  SequenceRequest request = Request({0, 1}, {2, 2, 1});
  request.sampling.presence_penalty = 0.5f;
  EXPECT_THAT(Processed(request, {1, 1, 1, 1}), ElementsAre(1.0f, 0.5f, 0.5f, 1.0f));
  request.sampling.presence_penalty = 0.0f;
  request.sampling.frequency_penalty = -0.25f;
  EXPECT_THAT(Processed(request, {1, 1, 1, 1}), ElementsAre(1.0f, 1.25f, 1.5f, 1.0f));
}

TEST(LogitsProcessors, BiasIsAdded) {
  SequenceRequest request = Request({0}, {});
  request.sampling.logit_bias = {{1, 100.0f}, {3, -1.5f}, {90, 5.0f}};  // 90: beyond this row
  EXPECT_THAT(Processed(request, {1, 1, 1, 1}), ElementsAre(1.0f, 101.0f, 1.0f, -0.5f));
}

TEST(LogitsProcessors, EndAndStopTokensWaitForMinTokens) {
  SequenceRequest request = Request({0}, {2});
  request.sampling.min_tokens = 2;
  request.sampling.stop_token_ids = {1};
  Sequence sequence(request);
  sequence.SetStopIds(std::vector<TokenId>{3});
  std::vector<float> logits = {1, 1, 1, 1};
  std::vector<uint64_t> words;
  ApplyProcessors(sequence, logits, words);
  EXPECT_THAT(logits, ElementsAre(1.0f, kForbidden, 1.0f, kForbidden));
  sequence.Append(2);
  EXPECT_FALSE(NeedsProcessing(sequence));
}

TEST(LogitsProcessors, TheMaskSeesWhatWasProduced) {
  SequenceRequest request = Request({0}, {7, 8});
  std::vector<TokenId> seen;
  request.sampling.mask = [&seen](std::span<const TokenId> produced, std::span<uint64_t> allowed) {
    seen.assign(produced.begin(), produced.end());
    allowed[0] = ~uint64_t{0};
    allowed[1] = uint64_t{1} << 2;  // of tokens 64 .. only 66
  };
  const std::vector<float> logits = Processed(request, std::vector<float>(70, 1.0f));
  EXPECT_THAT(seen, ElementsAre(7, 8));
  for (size_t token = 0; token < 70; ++token) {
    EXPECT_EQ(logits[token], token < 64 || token == 66 ? 1.0f : kForbidden) << token;
  }
}

TEST(LogitsProcessors, TheOrderIsMaskMinTokensBiasPenalties) {
  // Bias first, then repetition: (1 + 3) / 2, not 1 / 2 + 3. Neither lifts a forbidden token.
  SequenceRequest request = Request({0, 1, 2}, {});
  request.sampling.logit_bias = {{0, 3.0f}, {1, 50.0f}, {2, 50.0f}};
  request.sampling.repetition_penalty = 2.0f;
  request.sampling.min_tokens = 1;
  request.sampling.stop_token_ids = {1};
  request.sampling.mask = [](std::span<const TokenId>, std::span<uint64_t> allowed) {
    allowed[0] = 0b1011;
  };
  EXPECT_THAT(Processed(request, {1, 1, 1, 1}), ElementsAre(2.0f, kForbidden, kForbidden, 1.0f));
}

}  // namespace
}  // namespace tessera::router
