#include "common/wire/generation_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tessera/v1/generation.pb.h"

namespace tessera::wire {
namespace {

using ::testing::HasSubstr;

GenerationParams Sample() {
  GenerationParams params;
  params.request_id = "r-1";
  params.prompt = {1, 2, 3};
  params.produced = {4, 5};
  params.sampling.temperature = 0.7f;
  params.sampling.top_k = 40;
  params.sampling.top_p = 0.9f;
  params.sampling.min_p = 0.05f;
  params.sampling.repetition_penalty = 1.1f;
  params.sampling.presence_penalty = -0.5f;
  params.sampling.frequency_penalty = 0.25f;
  params.sampling.seed = 0;
  params.sampling.bias = {{7, -100.0f}, {9, 3.5f}};
  params.sampling.allowed = {7, 9, 11};
  params.tokens_max = 100;
  params.tokens_min = 2;
  params.stop_tokens = {0};
  params.ignore_eos = true;
  params.deadline = absl::Milliseconds(1500);
  params.priority = -3;
  params.cache_salt = "tenant";
  params.no_prefix_cache = true;
  params.logprobs = 0;
  params.want_prompt_logprobs = true;
  params.want_routed_experts = true;
  params.degraded_allowed = true;
  params.trace = ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  return params;
}

TEST(GenerationWireTest, RequestsSurviveTheRoundTrip) {
  v1::GenerateRequest message;
  ToProto(Sample(), message);
  auto read = ToGenerationParams(message);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, Sample());
  GenerationParams plain;
  plain.request_id = "x";
  plain.prompt = {0};
  ToProto(plain, message);
  read = ToGenerationParams(message);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, plain);
}

TEST(GenerationWireTest, AShortDeadlineIsNotNone) {
  GenerationParams params = Sample();
  params.deadline = absl::Microseconds(10);
  v1::GenerateRequest message;
  ToProto(params, message);
  EXPECT_EQ(message.deadline_ms(), 1u);
}

TEST(GenerationWireTest, RequestErrorsNameTheField) {
  const auto error = [](auto damage) {
    v1::GenerateRequest message;
    ToProto(Sample(), message);
    damage(message);
    const auto read = ToGenerationParams(message);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(read.status().message());
  };
  using Request = v1::GenerateRequest;
  EXPECT_THAT(error([](Request& r) { r.clear_request_id(); }), HasSubstr("request_id"));
  EXPECT_THAT(error([](Request& r) { r.set_request_id(std::string(257, 'x')); }),
              HasSubstr("257 bytes"));
  EXPECT_THAT(error([](Request& r) { r.clear_prompt_token_ids(); }), HasSubstr("prompt_token_ids"));
  EXPECT_THAT(error([](Request& r) { r.add_produced_token_ids(-1); }),
              HasSubstr("produced_token_ids has the token -1"));
  EXPECT_THAT(error([](Request& r) { r.mutable_sampling()->set_temperature(2.5f); }),
              HasSubstr("temperature is 2.5"));
  EXPECT_THAT(error([](Request& r) {
                r.mutable_sampling()->set_temperature(std::numeric_limits<float>::quiet_NaN());
              }),
              HasSubstr("temperature"));
  EXPECT_THAT(error([](Request& r) { r.mutable_sampling()->set_top_p(-0.1f); }),
              HasSubstr("top_p"));
  EXPECT_THAT(error([](Request& r) { r.mutable_sampling()->mutable_bias(0)->set_bias(101); }),
              HasSubstr("bias is 101"));
  EXPECT_THAT(error([](Request& r) {
                for (int i = 0; i < 65; ++i) r.add_stop_token_ids(i);
              }),
              HasSubstr("at most 64"));
  EXPECT_THAT(error([](Request& r) { r.set_traceparent("00-0-0-01"); }),
              HasSubstr("traceparent has 9 bytes that are none"));
}

TokenOutput Output(TokenId token) {
  TokenOutput output;
  output.token = token;
  output.logprob = -0.5f;
  output.rank = 2;
  output.top = {{token, -0.5f}, {3, -1.5f}};
  output.routed_experts = {0, 255, 256, 65535};
  output.degraded = true;
  return output;
}

TEST(GenerationWireTest, EventsSurviveTheRoundTrip) {
  FinishedEvent finished;
  finished.kind = FinishKind::kError;
  finished.prompt_tokens = 4;
  finished.produced_tokens = 5;
  finished.cached_tokens = 3;
  finished.degraded = true;
  finished.error = absl::UnavailableError("no shard holds expert 3");
  finished.retry_after = absl::Milliseconds(250);
  finished.queued = absl::Microseconds(1);
  finished.prefill = absl::Microseconds(2);
  finished.decode = absl::Microseconds(3);
  const std::vector<TokenEvent> events = {{"a", StartedEvent{10, 8, {Output(1)}}},
                                          {"a", TokensEvent{2, {Output(5), TokenOutput{}}}},
                                          {"a", finished},
                                          {"b", FinishedEvent{}}};
  for (const TokenEvent& event : events) {
    v1::GenerateEvent message;
    ToProto(event, message);
    const auto read = ToTokenEvent(message);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(*read, event);
  }
}

TEST(GenerationWireTest, NoLogprobIsInfinite) {
  TokenOutput output;
  output.logprob = -std::numeric_limits<float>::infinity();
  v1::GenerateEvent message;
  ToProto({"a", TokensEvent{0, {output}}}, message);
  EXPECT_EQ(message.tokens().tokens(0).logprob(), -9999.0f);
}

TEST(GenerationWireTest, EventsThatMeanNothingAreErrors) {
  v1::GenerateEvent message;
  EXPECT_EQ(ToTokenEvent(message).status().code(), absl::StatusCode::kInternal);
  message.mutable_tokens()->set_first_index(3);
  EXPECT_EQ(ToTokenEvent(message).status().code(), absl::StatusCode::kInternal);
  message.mutable_finished();
  EXPECT_EQ(ToTokenEvent(message).status().code(), absl::StatusCode::kInternal);
  message.mutable_finished()->set_reason(v1::FINISH_REASON_ERROR);
  EXPECT_THAT(ToTokenEvent(message).status().message(), HasSubstr("code 0"));
}

}  // namespace
}  // namespace tessera::wire
