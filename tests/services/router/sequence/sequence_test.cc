#include "services/router/sequence/sequence.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tessera::router {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

SequenceRequest Request(std::vector<TokenId> prompt, std::vector<TokenId> produced = {}) {
  SequenceRequest request;
  request.id = SequenceId{7};
  request.prompt = std::move(prompt);
  request.produced = std::move(produced);
  return request;
}

TEST(Sequence, TellsPromptFromProduced) {
  Sequence sequence(Request({1, 2, 3}, {4}));
  sequence.Append(5);
  EXPECT_THAT(sequence.prompt(), ElementsAre(1, 2, 3));
  EXPECT_THAT(sequence.produced(), ElementsAre(4, 5));
  EXPECT_THAT(sequence.tokens(), ElementsAre(1, 2, 3, 4, 5));
  sequence.SetCommitted(4);
  EXPECT_EQ(sequence.uncommitted_count(), 1u);
}

TEST(Sequence, EndTokensJoinStopTokensUnlessIgnored) {
  SequenceRequest request = Request({1});
  request.sampling.stop_token_ids = {9, 4, 9};
  Sequence sequence(request);
  EXPECT_THAT(sequence.stop_ids(), ElementsAre(4, 9));
  sequence.SetStopIds(std::vector<TokenId>{3, 4});
  EXPECT_THAT(sequence.stop_ids(), ElementsAre(3, 4, 9));
  EXPECT_TRUE(sequence.is_stop(3));
  EXPECT_FALSE(sequence.is_stop(5));

  request.sampling.ignore_eos = true;
  Sequence ignoring(request);
  ignoring.SetStopIds(std::vector<TokenId>{3, 4});
  EXPECT_THAT(ignoring.stop_ids(), ElementsAre(4, 9));
}

TEST(Sequence, CountsTokensOnlyForPenalties) {
  SequenceRequest request = Request({1, 2, 1}, {2, 5});
  Sequence plain(request);
  EXPECT_THAT(plain.occurrences(), IsEmpty());

  request.sampling.frequency_penalty = 0.5f;
  Sequence sequence(request);
  sequence.Append(5);
  EXPECT_EQ(sequence.occurrences().size(), 3u);
  EXPECT_TRUE(sequence.occurrences().at(1).in_prompt);
  EXPECT_EQ(sequence.occurrences().at(1).produced_count, 0u);
  EXPECT_TRUE(sequence.occurrences().at(2).in_prompt);
  EXPECT_EQ(sequence.occurrences().at(2).produced_count, 1u);
  EXPECT_FALSE(sequence.occurrences().at(5).in_prompt);
  EXPECT_EQ(sequence.occurrences().at(5).produced_count, 2u);
}

TEST(Sequence, PromptLogitsAreDoneOnceThoughThePromptIsComputedTwice) {
  SequenceRequest request = Request({1, 2, 3, 4}, {5});
  request.wants_prompt_logits = true;
  Sequence sequence(request);
  sequence.SetCommitted(3);
  EXPECT_EQ(sequence.prompt_logits_done(), 3u);
  sequence.SetCommitted(0);
  EXPECT_EQ(sequence.prompt_logits_done(), 3u);
  sequence.SetCommitted(5);
  EXPECT_EQ(sequence.prompt_logits_done(), 4u);
}

TEST(Sequence, FinishesWithAReason) {
  Sequence sequence(Request({1}));
  EXPECT_FALSE(sequence.finished());
  sequence.Finish(FinishReason::kError, absl::DeadlineExceededError("late"));
  EXPECT_TRUE(sequence.finished());
  EXPECT_EQ(NameOf(sequence.finish_reason()), "error");
  EXPECT_EQ(sequence.error().code(), absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace tessera::router
