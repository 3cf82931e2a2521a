#include "services/router/sequence/step_batch.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tessera::router {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

SequenceRequest Request(std::vector<TokenId> prompt) {
  SequenceRequest request;
  request.prompt = std::move(prompt);
  return request;
}

TEST(StepBatch, DecodeRowsThenChunks) {
  Sequence decoding(Request({10, 11}));
  decoding.tables().full = {4};
  decoding.tables().sliding = {7};
  decoding.SetCommitted(1);
  Sequence prefilling(Request({20, 21, 22, 23}));
  prefilling.tables().full = {5};
  prefilling.tables().sliding = {8};
  prefilling.SetCommitted(1);

  StepBatch batch;
  EXPECT_TRUE(batch.empty());
  batch.Add(decoding, 1, /*is_decode=*/true);
  batch.Add(prefilling, 2, /*is_decode=*/false);

  EXPECT_EQ(batch.decode_row_count(), 1u);
  EXPECT_THAT(batch.token_ids(), ElementsAre(11, 21, 22));
  EXPECT_THAT(batch.positions(), ElementsAre(1u, 1u, 2u));
  const auto full = batch.attention_rows(LayerKind::kFull);
  const auto sliding = batch.attention_rows(LayerKind::kSliding);
  ASSERT_THAT(full, SizeIs(3));
  ASSERT_THAT(sliding, SizeIs(3));
  EXPECT_THAT(full[0].blocks, ElementsAre(4u));
  EXPECT_THAT(sliding[2].blocks, ElementsAre(8u));
  EXPECT_EQ(full[2].position, 2u);
  ASSERT_THAT(batch.chunks(), SizeIs(2));
  EXPECT_EQ(batch.chunks()[1].row_begin, 1u);
  EXPECT_EQ(batch.chunks()[1].row_count, 2u);
  // The chunk ends before the last token of its prompt: only the decode row samples.
  EXPECT_THAT(batch.logits_rows(), ElementsAre(0u));
  ASSERT_THAT(batch.samples(), SizeIs(1));
  EXPECT_EQ(batch.samples()[0].sequence, &decoding);
}

TEST(StepBatch, RowsWhoseLogitsAreWantedAreProjectedOnce) {
  SequenceRequest request = Request({1, 2, 3});
  request.wants_prompt_logits = true;
  Sequence sequence(request);
  sequence.tables().full = {0};
  StepBatch batch;
  batch.Add(sequence, 3, /*is_decode=*/false);
  EXPECT_THAT(batch.logits_rows(), ElementsAre(0u, 1u, 2u));
  ASSERT_THAT(batch.prompt_logits(), SizeIs(3));
  EXPECT_EQ(batch.prompt_logits()[1].position, 1u);
  ASSERT_THAT(batch.samples(), SizeIs(1));
  EXPECT_EQ(batch.samples()[0].logits_index, 2u);
  EXPECT_THAT(batch.attention_rows(LayerKind::kSliding), IsEmpty());
}

TEST(StepBatch, PromptLogitsHandedOutBeforeAreNotAskedForAgain) {
  SequenceRequest request = Request({1, 2, 3});
  request.wants_prompt_logits = true;
  request.sampling.max_tokens = 0;  // scoring only
  Sequence sequence(request);
  sequence.tables().full = {0};
  sequence.SetCommitted(2);
  sequence.SetCommitted(0);  // preempted
  StepBatch batch;
  batch.Add(sequence, 3, /*is_decode=*/false);
  EXPECT_THAT(batch.logits_rows(), ElementsAre(2u));
  ASSERT_THAT(batch.prompt_logits(), SizeIs(1));
  EXPECT_EQ(batch.prompt_logits()[0].position, 2u);
  EXPECT_THAT(batch.samples(), IsEmpty());
}

}  // namespace
}  // namespace tessera::router
