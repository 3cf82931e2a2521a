#include "services/gateway/session/choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "services/gateway/api/reply.h"
#include "services/gateway/api/request_reader.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_tokenizer.h"

namespace tessera::gateway {
namespace {

using ::tessera::testing::kTinyEos;
using ::tessera::testing::kTinyThink;
using ::tessera::testing::TinyId;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr const char* kChat = R"({"messages":[{"role":"user","content":"Hi"}])";
constexpr const char* kTools =
    R"(,"tools":[{"type":"function","function":{"name":"now","parameters":{"type":"object"}}}])";

// One choice fed by hand, and what it said.
class ChoiceTest : public ::testing::Test {
 protected:
  ChoiceTest() {
    testing::WriteTinyText(testing::TinyServedSpec(512), folder_.path());
    model_ = *TextModel::Load({.folder = folder_.path()});
  }
  // `body` without its closing brace.
  void Begin(ApiDialect dialect, const std::string& body, OutputParserOptions options = {}) {
    auto request = ReadGenerationRequest(dialect, body + "}", {});
    ASSERT_TRUE(request.ok()) << request.status();
    auto prepared =
        Prepare(*std::move(request), *model_, {.reasoning = options.reasoning}, absl::UnixEpoch());
    ASSERT_TRUE(prepared.ok()) << prepared.status();
    prepared_ = std::make_unique<PreparedRequest>(*std::move(prepared));
    options.tool_options = {.tools = prepared_->request.tools,
                            .parallel = true,
                            .next_call_id = [] { return std::string("call_1"); }};
    choice_ = std::make_unique<Choice>(*prepared_, 0, *model_, std::move(options));
    output_ = {};
  }
  void Complete(const std::string& more) {
    Begin(ApiDialect::kCompletion, R"({"prompt":"a","max_tokens":100)" + more);
  }
  // True as of Choice::Push.
  bool Push(std::vector<wire::TokenOutput> tokens) {
    const bool is_over = choice_->Push({.first_index = 0, .tokens = std::move(tokens)});
    output_.Append(choice_->TakeStep());
    return is_over;
  }
  bool Push(TokenId token) { return Push({{.token = token}}); }
  // A token a byte, each in a step of its own.
  bool Say(std::string_view text) {
    bool is_over = false;
    for (const char byte : text) is_over = Push(TinyId(byte));
    return is_over;
  }
  void End(wire::FinishKind kind, bool degraded = false) {
    choice_->End({.kind = kind, .degraded = degraded});
    output_.Append(choice_->TakeStep());
    output_.end = choice_->end();
  }
  std::string Text(OutputEvent::Kind kind = OutputEvent::Kind::kContent) const {
    std::string text;
    for (const OutputEvent& event : output_.events) {
      if (event.kind == kind) text += event.text;
    }
    return text;
  }
  std::string Reply() const {
    return WriteReply(prepared_->request, {.id = "x", .model = "tiny"}, {&output_, 1}, {});
  }

  const testing::TempFolder folder_;
  std::unique_ptr<const TextModel> model_;
  std::unique_ptr<PreparedRequest> prepared_;
  std::unique_ptr<Choice> choice_;
  ChoiceOutput output_;
};

TEST_F(ChoiceTest, AStopStringSplitOverTokensEndsTheText) {
  Complete(R"(,"stop":["a time","zz"])");
  EXPECT_FALSE(Say("Once a tim"));
  EXPECT_EQ(Text(), "Once ");  // the rest may still become the stop string
  EXPECT_TRUE(Say("e"));
  EXPECT_EQ(Text(), "Once ");
  EXPECT_TRUE(choice_->has_ended());
  EXPECT_EQ(choice_->end().reason, FinishReason::kStop);
  EXPECT_EQ(std::get<std::string>(choice_->end().stopped_by), "a time");
  EXPECT_EQ(choice_->completion_tokens(), 11u);
  // What was under way from the router changes nothing.
  EXPECT_TRUE(Say("zz later"));
  End(wire::FinishKind::kLength);
  EXPECT_EQ(Text(), "Once ");
  EXPECT_EQ(choice_->completion_tokens(), 11u);
  EXPECT_EQ(choice_->end().reason, FinishReason::kStop);
}

TEST_F(ChoiceTest, AStopStringInTheMiddleOfAStepDropsTheRestOfIt) {
  Complete(R"(,"stop":"b")");
  EXPECT_TRUE(Push({{.token = TinyId('a')}, {.token = TinyId('b')}, {.token = TinyId('c')}}));
  EXPECT_EQ(Text(), "a");
  EXPECT_EQ(choice_->completion_tokens(), 2u);
}

TEST_F(ChoiceTest, TheStopStringIsShownOnRequest) {
  Complete(R"(,"stop":["cd"],"include_stop_str_in_output":true)");
  EXPECT_TRUE(Say("abcd"));
  EXPECT_EQ(Text(), "abcd");
}

TEST_F(ChoiceTest, WhatOnlyLookedLikeAStopStringComesAtTheEnd) {
  Complete(R"(,"stop":["time"])");
  EXPECT_FALSE(Say("a ti"));
  EXPECT_EQ(Text(), "a ");
  End(wire::FinishKind::kLength);
  EXPECT_EQ(Text(), "a ti");
  EXPECT_EQ(choice_->end().reason, FinishReason::kLength);
  EXPECT_THAT(choice_->end().stopped_by, ::testing::VariantWith<std::monostate>(std::monostate()));
}

TEST_F(ChoiceTest, CharactersSplitOverTokensStayWhole) {
  Complete(R"(,"stop":["\u00fc"])");
  EXPECT_FALSE(Say("\xC3"));
  EXPECT_EQ(Text(), "");
  EXPECT_FALSE(Say("\xA4\xC3"));
  EXPECT_EQ(Text(), "\xC3\xA4");
  EXPECT_TRUE(Say("\xBC"));  // the stop string's second byte
  EXPECT_EQ(Text(), "\xC3\xA4");
  Complete("");
  Say("x\xC3");
  End(wire::FinishKind::kLength);
  EXPECT_EQ(Text(), "x\xEF\xBF\xBD");
}

TEST_F(ChoiceTest, EndOfSequenceIsNoText) {
  Complete("");
  Say("ab");
  Push(kTinyEos);
  End(wire::FinishKind::kStop);
  EXPECT_EQ(Text(), "ab");
  EXPECT_EQ(choice_->end().reason, FinishReason::kStop);
  EXPECT_THAT(choice_->end().stopped_by, ::testing::VariantWith<std::monostate>(std::monostate()));
  EXPECT_EQ(choice_->completion_tokens(), 3u);
}

TEST_F(ChoiceTest, AStopTokenIsNamed) {
  Complete(R"(,"stop_token_ids":[116])");
  ASSERT_EQ(TinyId('d'), 116);
  Say("abcd");
  End(wire::FinishKind::kStop);
  EXPECT_EQ(Text(), "abc");
  EXPECT_EQ(std::get<TokenId>(choice_->end().stopped_by), 116);
  EXPECT_THAT(Reply(), HasSubstr(R"("stop_reason":116)"));
}

TEST_F(ChoiceTest, NothingEndsTheTextBeforeItsLeastLength) {
  Complete(R"(,"stop":["b"],"min_tokens":3)");
  EXPECT_FALSE(Say("bb"));
  EXPECT_FALSE(Push(TinyId('c')));
  EXPECT_EQ(Text(), "bbc");
  EXPECT_TRUE(Say("b"));
  EXPECT_EQ(Text(), "bbc");
}

TEST_F(ChoiceTest, ADegradedTokenMarksTheReply) {
  Complete("");
  Say("a");
  EXPECT_FALSE(choice_->end().degraded);
  Push({{.token = TinyId('b'), .degraded = true}});
  Say("c");
  End(wire::FinishKind::kLength);
  EXPECT_TRUE(choice_->end().degraded);
  EXPECT_THAT(Reply(), HasSubstr(R"("degraded":true)"));
  for (const bool degraded : {false, true}) {
    Begin(ApiDialect::kChat, kChat);
    Say("a");
    End(wire::FinishKind::kStop, degraded);
    EXPECT_EQ(choice_->end().degraded, degraded);
    EXPECT_THAT(Reply(), degraded ? ::testing::Matcher<std::string>(HasSubstr("degraded"))
                                  : ::testing::Matcher<std::string>(Not(HasSubstr("degraded"))));
  }
}

TEST_F(ChoiceTest, CallsOfToolsEndAsSuchUnlessTheyAreCut) {
  const std::string head = R"({"name": "now", "arguments": {"zone": ")";
  Begin(ApiDialect::kChat, std::string(kChat) + kTools, {.tools = ToolFormat::kHermes});
  Push(kTinyThink + 2);
  Say("\n" + head + "UTC\"}}\n");
  Push(kTinyThink + 3);
  Push(kTinyEos);
  End(wire::FinishKind::kStop);
  EXPECT_EQ(choice_->end().reason, FinishReason::kToolCalls);
  EXPECT_EQ(Text(OutputEvent::Kind::kArguments), R"({"zone": "UTC"})");
  EXPECT_THAT(Reply(), HasSubstr(R"("finish_reason":"tool_calls")"));
  Begin(ApiDialect::kChat, std::string(kChat) + kTools, {.tools = ToolFormat::kHermes});
  Push(kTinyThink + 2);
  Say("\n" + head);
  End(wire::FinishKind::kLength);
  EXPECT_EQ(choice_->end().reason, FinishReason::kLength);
}

TEST_F(ChoiceTest, ReasoningIsCountedShownOrNot) {
  for (const bool is_shown : {true, false}) {
    Begin(ApiDialect::kChat, std::string(kChat) + (is_shown ? "" : R"(,"include_reasoning":false)"),
          {.reasoning = ReasoningRule::kDeepseekR1});
    Say("hm");
    Push(kTinyThink + 1);
    Say("yes");
    End(wire::FinishKind::kStop);
    EXPECT_EQ(Text(OutputEvent::Kind::kReasoning), is_shown ? "hm" : "");
    EXPECT_EQ(Text(), "yes");
    EXPECT_EQ(choice_->reasoning_tokens(), 3u);
    EXPECT_EQ(choice_->completion_tokens(), 6u);
  }
}

TEST_F(ChoiceTest, ReportsWhatWasAskedForAndNothingElse) {
  const wire::TokenOutput token = {.token = TinyId('q'),
                                   .logprob = -0.5f,
                                   .rank = 2,
                                   .top = {{TinyId('r'), -0.25f}, {TinyId('q'), -0.5f}},
                                   .routed_experts = {1, 2, 3, 4}};
  Complete(R"(,"logprobs":1,"return_token_ids":true,"return_routed_experts":true)");
  Push({token});
  ASSERT_THAT(output_.logprobs, SizeIs(1));
  EXPECT_EQ(output_.logprobs[0].token.bytes, "q");
  EXPECT_EQ(output_.logprobs[0].token.rank, 2u);
  ASSERT_THAT(output_.logprobs[0].top, SizeIs(1));
  EXPECT_EQ(output_.logprobs[0].top[0].bytes, "r");
  EXPECT_THAT(output_.token_ids, ElementsAre(TinyId('q')));
  EXPECT_THAT(output_.routed_experts, ElementsAre(ElementsAre(1, 2, 3, 4)));
  Complete("");
  Push({token});
  EXPECT_THAT(output_.logprobs, IsEmpty());
  EXPECT_THAT(output_.token_ids, IsEmpty());
  EXPECT_THAT(output_.routed_experts, IsEmpty());
}

TEST_F(ChoiceTest, TheFirstTokenOfAnEchoedPromptHasItsTextThoughNoProbability) {
  Complete(R"(,"echo":true,"logprobs":1)");
  const PromptReport report =
      choice_->Prompt({.prompt = {{.token = TinyId('a')}, {.token = TinyId('b'), .logprob = -1}}});
  EXPECT_EQ(report.first_token, "a");
  ASSERT_THAT(report.logprobs, SizeIs(2));
  EXPECT_FALSE(report.logprobs[0].has_value());
  EXPECT_EQ(report.logprobs[1]->token.bytes, "b");
}

}  // namespace
}  // namespace tessera::gateway
