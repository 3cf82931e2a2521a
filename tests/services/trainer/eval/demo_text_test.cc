// The text that a model is trained on and the text that the gateway makes and reads at serve time
// are the same: template, tool calls, reasoning, with the files of deploy/models/tessera-demo.

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "services/gateway/api/request_reader.h"
#include "services/gateway/parse/output_parser.h"
#include "services/gateway/template/chat_template.h"
#include "services/trainer/corpus/corpus.h"
#include "services/trainer/eval/chat_body.h"
#include "services/trainer/eval/items.h"
#include "tests/support/temp_folder.h"

namespace tessera::trainer {
namespace {

using gateway::OutputEvent;

class DemoTextTest : public ::testing::Test {
 protected:
  void SetUp() override {
    source_ = tessera::testing::ReadFile(TESSERA_SOURCE_DIR
                                         "/deploy/models/tessera-demo/chat_template.jinja");
    auto parsed = gateway::ChatTemplate::Parse(source_);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    template_ = *std::move(parsed);
  }
  gateway::GenerationRequest Request(const Conversation& conversation, size_t count) const {
    auto request = gateway::ReadChatRequest(ChatBody(conversation, count, 300), {});
    EXPECT_TRUE(request.ok()) << request.status();
    return *std::move(request);
  }
  std::string Rendered(const gateway::GenerationRequest& request, bool generate) const {
    gateway::ValueMap variables;
    variables.Set("messages", request.chat().messages);
    variables.Set("tools", request.chat().tools);
    variables.Set("add_generation_prompt", gateway::TemplateValue::Bool(generate));
    const auto text = template_->Render(std::move(variables), absl::UnixEpoch());
    EXPECT_TRUE(text.ok()) << text.status();
    return text.ok() ? *text : "";
  }

  std::string source_;
  std::unique_ptr<const gateway::ChatTemplate> template_;
};

TEST_F(DemoTextTest, TheTemplateWritesWhatTheCorpusHolds) {
  for (uint64_t i = 0; i < 300; ++i) {
    const Conversation conversation = MakeConversation(11, i);
    EXPECT_EQ(Rendered(Request(conversation, conversation.messages.size()), false),
              RenderText(conversation));
    // The prompt of every answer.
    std::string prompt;
    for (const TextPart& part : Render(conversation)) {
      if (part.text.ends_with("<|im_start|>assistant\n")) {
        prompt += part.text;
        const std::string whole = RenderText(conversation);
        EXPECT_TRUE(whole.starts_with(prompt));
      } else {
        prompt += part.text;
      }
    }
  }
}

TEST_F(DemoTextTest, ThePromptOfTheLastAnswerIsThePrefixOfTheConversation) {
  for (const EvalSkill& skill : EvalSkills()) {
    for (uint64_t i = 0; i < 5; ++i) {
      const Conversation item = MakeItem(skill.name, 4, i);
      const auto parts = Render(item);
      std::string prompt;
      for (size_t p = 0; p + 2 < parts.size(); ++p) prompt += parts[p].text;
      EXPECT_EQ(Rendered(Request(item, item.messages.size() - 1), true), prompt);
    }
  }
}

TEST_F(DemoTextTest, TheGatewayReadsWhatTheAssistantWrites) {
  const gateway::ReasoningRule reasoning = gateway::DetectReasoningRule(source_);
  const gateway::ToolFormat format = gateway::DetectToolFormat(source_);
  EXPECT_EQ(reasoning, gateway::ReasoningRule::kQwen3);
  EXPECT_EQ(format, gateway::ToolFormat::kQwen3Coder);
  size_t calls = 0;
  for (uint64_t i = 0; i < 300; ++i) {
    const Conversation conversation = MakeConversation(12, i);
    const gateway::GenerationRequest request = Request(conversation, conversation.messages.size());
    const auto parts = Render(conversation);
    size_t part = 1;
    for (const Message& message : conversation.messages) {
      if (message.role != Role::kAssistant) continue;
      std::string text = parts[part].text;
      part += 2;
      ASSERT_TRUE(text.ends_with("<|im_end|>"));
      text.resize(text.size() - std::string("<|im_end|>").size());
      gateway::OutputParser parser(
          {.reasoning = reasoning,
           .starts_in_reasoning = false,
           .tools = format,
           .tool_options = {
               .tools = request.tools, .parallel = true, .next_call_id = [] { return "call_1"; }}});
      std::vector<OutputEvent> events;
      parser.Push(text, events);
      parser.Flush(events);
      EXPECT_EQ(parser.failure_count(), 0u) << text;
      ChatReply reply;
      std::string thought;
      for (const OutputEvent& event : events) {
        if (event.kind == OutputEvent::Kind::kReasoning) thought += event.text;
        if (event.kind == OutputEvent::Kind::kContent) reply.content += event.text;
        if (event.kind == OutputEvent::Kind::kToolCall) reply.calls.emplace_back(event.name, "");
        if (event.kind == OutputEvent::Kind::kArguments) reply.calls.back().second += event.text;
      }
      EXPECT_EQ(thought, message.reasoning);
      EXPECT_EQ(reply.content, message.content);
      Conversation item{.skill = "", .tools = conversation.tools, .messages = {message}};
      EXPECT_TRUE(IsRight(item, Scoring::kCalls, reply)) << text;
      calls += reply.calls.size();
    }
  }
  EXPECT_GT(calls, 50u);
}

TEST_F(DemoTextTest, TheTemplateAcceptsToolsAsClientsSendThem) {
  const auto request = gateway::ReadChatRequest(
      R"({"messages":[{"role":"user","content":"Hi"}],"tools":[{"type":"function","function":
        {"name":"now"}},{"type":"function","function":{"name":"f","description":"D.","parameters":
        {"properties":{"a":{"type":"string"}},"type":"object"}}}]})",
      {});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(Rendered(*request, true),
            "<|im_start|>system\n# Tools\n\n<tools>\n"
            "{\"description\": \"\", \"name\": \"now\", \"parameters\": {}, \"required\": []}\n"
            "{\"description\": \"D.\", \"name\": \"f\", \"parameters\": {\"a\": {\"type\": "
            "\"string\"}}, \"required\": []}\n"
            "</tools><|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

}  // namespace
}  // namespace tessera::trainer
