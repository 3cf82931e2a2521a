#include "services/router/sampling/sampler.h"

#include <cmath>
#include <limits>
#include <string>

#include "common/base/random.h"
#include "common/tensor/matrix.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tessera::router {
namespace {

using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kVocab = 300;
constexpr size_t kPadded = 320;

// Real logits, then padding that would win every draw.
std::vector<float> Row(uint64_t seed) {
  std::vector<float> row(kPadded, 1000.0f);
  for (size_t i = 0; i < kVocab; ++i) row[i] = static_cast<float>(RandomUniform(seed, i) * 8.0);
  return row;
}

SequenceRequest Request(const SamplingParams& sampling) {
  SequenceRequest request;
  request.prompt = {1, 2, 3};
  request.sampling = sampling;
  return request;
}

class SamplerTest : public ::testing::Test {
 protected:
  SampledToken Sample(const SamplingParams& sampling, const std::vector<float>& row) {
    return sampler_.SampleRow(Sequence(Request(sampling)), row);
  }
  static SamplingParams Greedy() {
    SamplingParams params;
    params.temperature = 0.0f;
    return params;
  }

  ThreadPool pool_{ThreadPoolConfig{.thread_count = 2}};
  Sampler sampler_{{kVocab}, pool_};
};

TEST_F(SamplerTest, GreedyTakesTheFirstOfTheLargest) {
  std::vector<float> row = Row(1);
  row[70] = row[200] = 50.0f;
  EXPECT_EQ(Sample(Greedy(), row).token, 70);
  SamplingParams params = Greedy();
  params.logit_bias = {{200, 1.0f}};
  EXPECT_EQ(Sample(params, row).token, 200);
}

TEST_F(SamplerTest, PaddingIsNeverSampledNorLookedAt) {
  std::vector<float> row = Row(2);
  row[kVocab] = std::nanf("");
  row[kVocab + 1] = kInfinity;
  for (uint64_t seed = 0; seed < 500; ++seed) {
    SamplingParams params;
    params.seed = seed;
    params.temperature = static_cast<float>(seed % 5);
    params.logprobs = 3;
    const SampledToken sampled = Sample(params, row);
    ASSERT_TRUE(sampled.status.ok());
    ASSERT_LT(sampled.token, static_cast<TokenId>(kVocab));
    for (const TokenLogprob& top : sampled.top_logprobs) {
      ASSERT_LT(top.token, static_cast<TokenId>(kVocab));
    }
  }
}

TEST_F(SamplerTest, ALogitThatIsNotFiniteIsAnErrorOfTheModel) {
  for (const float bad : {std::nanf(""), kInfinity, -kInfinity}) {
    std::vector<float> row = Row(3);
    row[123] = bad;
    for (const float temperature : {0.0f, 1.0f}) {
      SamplingParams params;
      params.temperature = temperature;
      const SampledToken sampled = Sample(params, row);
      EXPECT_EQ(sampled.status.code(), absl::StatusCode::kInternal);
      EXPECT_THAT(std::string(sampled.status.message()), HasSubstr("123"));
      SampledToken out;
      EXPECT_EQ(ComputeLogprobs(std::span(row).first(kVocab), 5, 2, out).code(),
                absl::StatusCode::kInternal);
    }
  }
}

TEST_F(SamplerTest, ForbiddingEverythingIsAnError) {
  SamplingParams params;
  params.mask = [](std::span<const TokenId>, std::span<uint64_t>) {};
  EXPECT_EQ(Sample(params, Row(4)).status.code(), absl::StatusCode::kFailedPrecondition);
  params.temperature = 0.0f;
  EXPECT_EQ(Sample(params, Row(4)).status.code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SamplerTest, AnOverflowingBiasIsAnError) {
  std::vector<float> row = Row(4);
  row[9] = 3e38f;
  SamplingParams params;
  params.logit_bias = {{9, 3e38f}};
  EXPECT_EQ(Sample(params, row).status.code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(SamplerTest, OnlyAllowedTokensAreDrawn) {
  SamplingParams params;
  params.temperature = 2.0f;
  params.mask = [](std::span<const TokenId>, std::span<uint64_t> allowed) {
    allowed[0] = uint64_t{1} << 5;
    allowed[4] = uint64_t{1} << 1;  // token 257
  };
  std::vector<size_t> counts(kVocab);
  for (params.seed = 0; params.seed < 200; ++params.seed) {
    ++counts[static_cast<size_t>(Sample(params, Row(5)).token)];
  }
  EXPECT_EQ(counts[5] + counts[257], 200u);
  EXPECT_GT(counts[5], 0u);
  EXPECT_GT(counts[257], 0u);
}

TEST_F(SamplerTest, LogprobsAreOfTheModelNotOfTheProcessors) {
  const std::vector<float> row = Row(6);
  double sum = 0.0;
  for (size_t i = 0; i < kVocab; ++i) sum += std::exp(double{row[i]});
  SamplingParams params = Greedy();
  params.logprobs = 4;
  params.logit_bias = {{17, 100.0f}};
  const SampledToken sampled = Sample(params, row);
  ASSERT_EQ(sampled.token, 17);
  // float32 exponentials are within 3e-7, logits of at most 8 round to 5e-7.
  EXPECT_NEAR(sampled.logprob, double{row[17]} - std::log(sum), 2e-6);
  size_t above_count = 0;
  for (size_t i = 0; i < kVocab; ++i) above_count += row[i] > row[17] ? 1 : 0;
  EXPECT_EQ(sampled.rank, 1 + above_count);
  ASSERT_EQ(sampled.top_logprobs.size(), 4u);
  for (size_t rank = 0; rank < 4; ++rank) {
    const TokenLogprob& top = sampled.top_logprobs[rank];
    EXPECT_NEAR(top.logprob, double{row[static_cast<size_t>(top.token)]} - std::log(sum), 2e-6);
    size_t better_count = 0;
    for (size_t i = 0; i < kVocab; ++i) {
      better_count += row[i] > row[static_cast<size_t>(top.token)] ? 1 : 0;
    }
    EXPECT_EQ(better_count, rank);
  }
  params.logprobs = 0;
  EXPECT_TRUE(Sample(params, row).top_logprobs.empty());
  EXPECT_EQ(Sample(params, row).logprob, sampled.logprob);
}

TEST_F(SamplerTest, ADrawDependsOnSeedAndPositionOnly) {
  SamplingParams params;
  params.seed = 99;
  // Prompt and produced divide differently, the position is the same: as after a restart.
  SequenceRequest whole = Request(params);
  whole.prompt = {1, 2, 3, 4};
  SequenceRequest resumed = Request(params);
  resumed.prompt = {1, 2};
  resumed.produced = {3, 4};
  size_t different_by_seed = 0;
  size_t different_by_position = 0;
  for (uint64_t i = 0; i < 50; ++i) {
    const std::vector<float> row = Row(100 + i);
    const TokenId token = sampler_.SampleRow(Sequence(whole), row).token;
    EXPECT_EQ(sampler_.SampleRow(Sequence(resumed), row).token, token);
    SequenceRequest other = whole;
    other.sampling.seed = 100;
    different_by_seed += sampler_.SampleRow(Sequence(other), row).token != token ? 1 : 0;
    other = whole;
    other.prompt.push_back(5);
    different_by_position += sampler_.SampleRow(Sequence(other), row).token != token ? 1 : 0;
  }
  EXPECT_GT(different_by_seed, 40u);
  EXPECT_GT(different_by_position, 40u);
}

TEST_F(SamplerTest, ABatchGivesEachRowWhatItGetsAlone) {
  // Twelve sequences, every other one still in its prompt: logits rows and samples differ.
  std::vector<std::unique_ptr<Sequence>> sequences;
  StepBatch batch;
  for (size_t i = 0; i < 12; ++i) {
    SamplingParams params;
    params.seed = i;
    params.temperature = i % 3 == 0 ? 0.0f : 0.9f;
    params.top_p = 0.9f;
    params.repetition_penalty = 1.2f;
    params.logprobs = 2;
    SequenceRequest request = Request(params);
    request.wants_prompt_logits = i % 2 == 0;
    sequences.push_back(std::make_unique<Sequence>(request));
    sequences.back()->tables().full = {0};
    batch.Add(*sequences.back(), i % 4 == 1 ? 2 : 3, /*is_decode=*/false);
  }
  Matrix logits(batch.logits_rows().size(), kPadded);
  for (size_t row = 0; row < logits.rows(); ++row) {
    const std::vector<float> values = Row(row);
    std::copy(values.begin(), values.end(), logits.row(row).begin());
  }
  logits.row(batch.samples()[3].logits_index)[7] = std::nanf("");
  const std::vector<SampledToken> sampled =
      sampler_.Sample(batch, static_cast<const Matrix&>(logits).view());
  ASSERT_EQ(sampled.size(), 9u);
  for (size_t i = 0; i < sampled.size(); ++i) {
    const StepBatch::Sample& sample = batch.samples()[i];
    const SampledToken alone =
        sampler_.SampleRow(*sample.sequence, logits.row(sample.logits_index));
    EXPECT_EQ(sampled[i].status, alone.status);
    EXPECT_EQ(sampled[i].status.ok(), i != 3);
    EXPECT_EQ(sampled[i].token, alone.token);
    EXPECT_EQ(sampled[i].logprob, alone.logprob);
    EXPECT_EQ(sampled[i].top_logprobs.size(), alone.top_logprobs.size());
  }
}

}  // namespace
}  // namespace tessera::router
