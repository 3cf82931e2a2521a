#include "services/gateway/session/prepared_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/gateway/api/api_error.h"
#include "services/gateway/api/request_reader.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_tokenizer.h"

namespace tessera::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TinyId;

constexpr uint32_t kContext = 64;

// A token a byte, and one that begins the text.
class PreparedRequestTest : public ::testing::Test {
 protected:
  PreparedRequestTest() {
    testing::WriteTinyText(testing::TinyServedSpec(kContext), folder_.path());
    model_ = *TextModel::Load({.folder = folder_.path()});
  }
  absl::StatusOr<PreparedRequest> Read(ApiDialect dialect, const std::string& body,
                                       const PrepareOptions& options = {}) {
    absl::StatusOr<GenerationRequest> request = ReadGenerationRequest(dialect, body, {});
    EXPECT_TRUE(request.ok()) << request.status();
    return Prepare(*std::move(request), *model_, options, absl::UnixEpoch());
  }
  absl::StatusOr<PreparedRequest> Complete(const std::string& members) {
    return Read(ApiDialect::kCompletion, absl::StrCat("{", members, "}"));
  }
  // Of a text of `size` tokens.
  absl::StatusOr<PreparedRequest> Long(size_t size, const std::string& more) {
    return Complete(absl::StrCat(R"("prompt":")", std::string(size - 1, 'a'), "\"", more));
  }
  static void ExpectTooLong(const absl::Status& status, const std::string& param,
                            const std::string& part) {
    const ApiError error = ToApiError(status);
    EXPECT_EQ(error.code, "context_length_exceeded") << status;
    EXPECT_EQ(error.param, param);
    EXPECT_THAT(error.message, HasSubstr(part));
  }

  const testing::TempFolder folder_;
  std::unique_ptr<const TextModel> model_;
};

TEST_F(PreparedRequestTest, PromptAndReplyFitTheContextToTheLastToken) {
  const auto full = Long(kContext - 4, R"(,"max_tokens":4)");
  ASSERT_TRUE(full.ok()) << full.status();
  EXPECT_EQ(full->prompts[0].tokens_max, 4u);
  ExpectTooLong(Long(kContext - 4, R"(,"max_tokens":5)").status(), "prompt",
                "60 tokens and 5 more are asked for");
  // A prompt that fills it may be scored, not continued.
  EXPECT_TRUE(Long(kContext, R"(,"max_tokens":0,"echo":true,"logprobs":0)").ok());
  ExpectTooLong(Long(kContext, R"(,"max_tokens":1)").status(), "prompt", "has 64 tokens");
  ExpectTooLong(Long(kContext + 1, R"(,"max_tokens":0)").status(), "prompt", "has 65 tokens");
}

TEST_F(PreparedRequestTest, WithoutALimitAChatMayFillWhatIsLeft) {
  const std::string body = R"({"messages":[{"role":"user","content":"Hi"}]})";
  const auto chat = Read(ApiDialect::kChat, body);
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->prompts[0].tokens_max + chat->prompt_tokens(), kContext);
  // Admission reckons with less: replies seldom fill the context.
  EXPECT_EQ(chat->choice_tokens_expected(0, 5), chat->prompt_tokens() + 5);
  EXPECT_EQ(chat->choice_tokens_expected(0, 5000), kContext);
}

TEST_F(PreparedRequestTest, ErrorsNameTheFieldOfTheirDialect) {
  const std::string text(100, 'a');
  const std::string message = absl::StrCat(R"([{"role":"user","content":")", text, "\"}]");
  ExpectTooLong(
      Read(ApiDialect::kMessages, absl::StrCat(R"({"max_tokens":1,"messages":)", message, "}"))
          .status(),
      "messages", "tokens");
  ExpectTooLong(Read(ApiDialect::kResponses, absl::StrCat(R"({"input":")", text, "\"}")).status(),
                "input", "tokens");
}

TEST_F(PreparedRequestTest, TruncationKeepsTheEndOfThePrompt) {
  const auto cut = Complete(R"("prompt":"abcdef","truncate_prompt_tokens":2)");
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_THAT(cut->prompts[0].ids, ElementsAre(TinyId('e'), TinyId('f')));
  EXPECT_EQ(cut->prompt_tokens(), 2u);
  const auto whole = Complete(R"("prompt":"ab","truncate_prompt_tokens":9)");
  EXPECT_EQ(whole->prompt_tokens(), 3u);
  // What is longer than the context is no error then.
  EXPECT_TRUE(Long(3 * kContext, R"(,"truncate_prompt_tokens":8)").ok());
}

TEST_F(PreparedRequestTest, MoreBytesThanAContextCanHoldAreNotEncoded) {
  const PrepareOptions options = {.prompt_bytes_per_token_max = 1};
  const std::string long_text(kContext + 1, 'a');
  ExpectTooLong(
      Read(ApiDialect::kCompletion, absl::StrCat(R"({"prompt":")", long_text, "\"}"), options)
          .status(),
      "prompt", "65 bytes");
  ExpectTooLong(
      Read(ApiDialect::kChat,
           absl::StrCat(R"({"messages":[{"role":"user","content":")", long_text, "\"}]}"), options)
          .status(),
      "messages", "bytes");
}

TEST_F(PreparedRequestTest, IdsAreThoseOfTheModel) {
  const auto prompt = Complete(absl::StrCat(R"("prompt":[1,)", model_->vocab_size(), "]"));
  EXPECT_EQ(ToApiError(prompt.status()).param, "prompt");
  EXPECT_THAT(prompt.status().message(), HasSubstr("not in [0, "));
  const auto stop =
      Complete(absl::StrCat(R"("prompt":"a","stop_token_ids":[)", model_->vocab_size(), "]"));
  EXPECT_EQ(ToApiError(stop.status()).param, "stop_token_ids");
  const auto last = Complete(absl::StrCat(R"("prompt":[)", model_->vocab_size() - 1, "]"));
  EXPECT_TRUE(last.ok()) << last.status();
  EXPECT_EQ(last->prompts[0].text, "");  // of ids only if it is echoed
  EXPECT_EQ(Complete(absl::StrCat(R"("echo":true,"prompt":[)", TinyId('x'), "]"))->prompts[0].text,
            "x");
}

TEST_F(PreparedRequestTest, ChoicesDifferAndTheSameRequestGivesTheSameOnes) {
  const std::string members = R"("prompt":["ab","cd"],"n":3,"max_tokens":5,"seed":7)";
  const auto first = Complete(members);
  const auto again = Complete(members);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_EQ(first->choice_count(), 6u);
  std::set<int64_t> seeds;
  for (uint32_t choice = 0; choice < 6; ++choice) {
    const wire::GenerationParams params = ParamsOf(*first, choice);
    EXPECT_EQ(params.prompt, first->prompts[choice / 3].ids);
    EXPECT_EQ(params.sampling.seed, ParamsOf(*again, choice).sampling.seed);
    seeds.insert(static_cast<int64_t>(*params.sampling.seed));
  }
  // The first of a prompt's choices is the one that n = 1 gives.
  EXPECT_EQ(seeds.size(), 3u);
  EXPECT_EQ(ParamsOf(*first, 3).sampling.seed, 7u);
  const auto unseeded = Complete(R"("prompt":"a","n":2)");
  EXPECT_FALSE(ParamsOf(*unseeded, 1).sampling.seed.has_value());
}

TEST_F(PreparedRequestTest, APromptCountsOnceHoweverManyChoicesItHas) {
  const auto request = Complete(R"("prompt":["abc","d"],"n":2,"max_tokens":10)");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->prompt_tokens(), 4u + 2u);
  EXPECT_EQ(request->choice_tokens_expected(0, 512), 4u + 10u);
  EXPECT_EQ(request->choice_tokens_expected(3, 512), 2u + 10u);
  EXPECT_EQ(request->tokens_expected(512), 4u + 2u + 4u * 10u);
}

TEST_F(PreparedRequestTest, WhatARouterIsAsked) {
  const auto request = Complete(
      R"("prompt":"a","max_tokens":3,"min_tokens":3,"echo":true,"logprobs":2,"prompt_logprobs":4,)"
      R"("stop_token_ids":[9],"ignore_eos":true,"priority":-2,"cache_salt":"s",)"
      R"("return_routed_experts":true,"degraded_allowed":true,"temperature":0)");
  ASSERT_TRUE(request.ok()) << request.status();
  const wire::GenerationParams params = ParamsOf(*request, 0);
  EXPECT_EQ(params.tokens_max, 3u);
  EXPECT_EQ(params.tokens_min, 3u);
  EXPECT_EQ(params.logprobs, 4u) << "one number for prompt and reply: the larger";
  EXPECT_TRUE(params.want_prompt_logprobs);
  EXPECT_THAT(params.stop_tokens, ElementsAre(9));
  EXPECT_TRUE(params.ignore_eos);
  EXPECT_EQ(params.priority, -2);
  EXPECT_EQ(params.cache_salt, "s");
  EXPECT_TRUE(params.want_routed_experts);
  EXPECT_TRUE(params.degraded_allowed);
  EXPECT_EQ(params.sampling.temperature, 0.0f);
  const auto plain = Complete(R"("prompt":"a","echo":true)");
  EXPECT_FALSE(ParamsOf(*plain, 0).want_prompt_logprobs) << "echo alone needs no logprobs";
  EXPECT_EQ(ParamsOf(*plain, 0).sampling.temperature, 0.7f) << "of generation_config.json";
}

}  // namespace
}  // namespace tessera::gateway
