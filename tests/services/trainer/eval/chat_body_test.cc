#include "services/trainer/eval/chat_body.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "services/trainer/eval/items.h"

namespace tessera::trainer {
namespace {

TEST(ChatBodyTest, FindsTheLastNumber) {
  EXPECT_EQ(LastNumber("17 + 25 = 42"), "42");
  EXPECT_EQ(LastNumber("10 - 43 = -33"), "-33");
  EXPECT_EQ(LastNumber("8-5"), "5");
  EXPECT_EQ(LastNumber("-7."), "-7");
  EXPECT_EQ(LastNumber("none"), "");
}

TEST(ChatBodyTest, ReadsReplies) {
  const auto reply = ReadReply(
      R"({"choices":[{"message":{"content":"A","reasoning_content":"R","tool_calls":[{"id":"1",
        "type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}}]}}],
        "usage":{"prompt_tokens":5,"completion_tokens":7}})");
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->content, "A");
  EXPECT_EQ(reply->reasoning, "R");
  ASSERT_EQ(reply->calls.size(), 1u);
  EXPECT_EQ(reply->calls[0].second, "{\"a\": 1}");
  EXPECT_EQ(reply->prompt_tokens, 5u);
  EXPECT_FALSE(ReadReply("{}").ok());
  EXPECT_FALSE(ReadReply(R"({"choices":[]})").ok());
}

TEST(ChatBodyTest, CallsAreComparedAsJson) {
  Conversation item;
  item.tools = {{.name = "f",
                 .description = "",
                 .parameters = {{.name = "a", .type = "integer"}, {.name = "b"}}}};
  item.messages = {{.role = Role::kAssistant, .calls = {{"f", {{"a", "5"}, {"b", "x"}}}}}};
  const auto is_right = [&](const std::string& name, const std::string& arguments) {
    ChatReply reply;
    reply.calls = {{name, arguments}};
    return IsRight(item, Scoring::kCalls, reply);
  };
  EXPECT_TRUE(is_right("f", R"({"b":"x","a":5})"));
  EXPECT_FALSE(is_right("g", R"({"b":"x","a":5})"));
  EXPECT_FALSE(is_right("f", R"({"b":"x","a":"5"})"));
  EXPECT_FALSE(is_right("f", R"({"b":"x"})"));
  EXPECT_FALSE(is_right("f", R"({"b":"y","a":5})"));
  EXPECT_FALSE(IsRight(item, Scoring::kCalls, {}));
}

TEST(ItemsTest, AnswersAreRightByTheirOwnScoring) {
  for (const EvalSkill& skill : EvalSkills()) {
    std::set<std::string> texts;
    for (uint64_t i = 0; i < 10; ++i) {
      const Conversation item = MakeItem(skill.name, 1, i);
      ASSERT_EQ(item.messages.back().role, Role::kAssistant);
      texts.insert(RenderText(item));
      ChatReply reply;
      reply.content = item.messages.back().content;
      if (skill.scoring != Scoring::kCalls) {
        EXPECT_TRUE(IsRight(item, skill.scoring, reply));
      }
      reply.content += " no 4711";
      EXPECT_FALSE(IsRight(item, skill.scoring, reply)) << skill.name;
    }
    EXPECT_GE(texts.size(), skill.name.ends_with("_1") ? 3u : 8u) << skill.name;
  }
}

}  // namespace
}  // namespace tessera::trainer
