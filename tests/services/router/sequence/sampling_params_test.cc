#include "services/router/sequence/sampling_params.h"

#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tessera::router {
namespace {

constexpr size_t kVocab = 100;

// Expects a refusal that names the field.
void ExpectRefused(const SamplingParams& params, const std::string& field) {
  const absl::Status status = ValidateSampling(params, kVocab);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(field));
}

TEST(SamplingParams, DefaultsAndLimitsAreAccepted) {
  EXPECT_TRUE(ValidateSampling({}, kVocab).ok());
  SamplingParams params;
  params.temperature = 0.0f;
  params.top_p = 1.0f;
  params.min_p = 1.0f;
  params.presence_penalty = -2.0f;
  params.frequency_penalty = 2.0f;
  params.logit_bias = {{0, -100.0f}, {99, 100.0f}};
  params.stop_token_ids = {0, 99};
  params.min_tokens = params.max_tokens;
  params.logprobs = kLogprobsMax;
  EXPECT_TRUE(ValidateSampling(params, kVocab).ok());
}

TEST(SamplingParams, EachFieldOutOfRangeIsNamed) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {-0.1f, nan, infinity}) {
    SamplingParams params;
    params.temperature = bad;
    ExpectRefused(params, "temperature");
  }
  for (const float bad : {0.0f, 1.1f, nan}) {
    SamplingParams params;
    params.top_p = bad;
    ExpectRefused(params, "top_p");
  }
  for (const float bad : {-0.1f, 1.1f, nan}) {
    SamplingParams params;
    params.min_p = bad;
    ExpectRefused(params, "min_p");
  }
  for (const float bad : {0.0f, -1.0f, infinity, nan}) {
    SamplingParams params;
    params.repetition_penalty = bad;
    ExpectRefused(params, "repetition_penalty");
  }
  for (const float bad : {-2.1f, 2.1f, nan}) {
    SamplingParams params;
    params.presence_penalty = bad;
    ExpectRefused(params, "presence_penalty");
    params = {};
    params.frequency_penalty = bad;
    ExpectRefused(params, "frequency_penalty");
  }
}

TEST(SamplingParams, TokensOutsideTheVocabularyAreNamed) {
  for (const TokenId bad : {-1, 100}) {
    SamplingParams params;
    params.logit_bias = {{bad, 1.0f}};
    ExpectRefused(params, "logit_bias");
    params = {};
    params.stop_token_ids = {bad};
    ExpectRefused(params, "stop_token_ids");
  }
  SamplingParams params;
  params.logit_bias = {{1, std::numeric_limits<float>::infinity()}};
  ExpectRefused(params, "logit_bias");
}

TEST(SamplingParams, CountsOutOfRangeAreNamed) {
  SamplingParams params;
  params.logprobs = kLogprobsMax + 1;
  ExpectRefused(params, "logprobs");
  params = {};
  params.min_tokens = params.max_tokens + 1;
  ExpectRefused(params, "min_tokens");
}

}  // namespace
}  // namespace tessera::router
