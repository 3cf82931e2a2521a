#include "services/gateway/parse/reasoning_parser.h"

#include <gtest/gtest.h>

#include "tests/services/gateway/parse/parse_cases.h"

namespace tessera::gateway {
namespace {

struct Case {
  const char* name;
  ReasoningRule rule;
  bool starts_inside;
  const char* text;
  const char* shown;
};

constexpr ReasoningRule kR1 = ReasoningRule::kDeepseekR1;
constexpr ReasoningRule kQwen = ReasoningRule::kQwen3;

const std::vector<Case> kCases = {
    {"closed", kR1, true, "think\n</think>\n\nanswer", "R(think)C(answer)"},
    {"opened again", kR1, true, "\n<think>\nthink</think>answer", "R(think)C(answer)"},
    {"never closed", kR1, true, "think\n\n", "R(think\n\n)"},
    {"nothing thought", kR1, true, "</think>answer", "C(answer)"},
    {"newlines inside stay", kR1, true, "\n\na\n\nb\n\n</think>c", "R(a\n\nb)C(c)"},
    {"later tags are text", kR1, true, "a</think>b<think>c</think>", "R(a)C(b<think>c</think>)"},
    {"tag inside reasoning", kR1, true, "a <think> b</think>c", "R(a <think> b)C(c)"},
    {"half a tag", kR1, true, "a </thin", "R(a </thin)"},
    {"not a tag", kR1, true, "a </thing></think>b", "R(a </thing>)C(b)"},
    {"qwen without", kQwen, false, "answer <think>", "C(answer <think>)"},
    {"qwen with", kQwen, false, "\n<think>\nthink\n</think>\n\nanswer", "R(think)C(answer)"},
    {"qwen, white space", kQwen, false, "  \n ", "C(  \n )"},
    {"qwen, opened by the prompt", kQwen, true, "think</think>answer", "R(think)C(answer)"},
    {"none", ReasoningRule::kNone, false, "<think>a</think>b", "C(<think>a</think>b)"},
    {"calls in reasoning are text", kQwen, true,
     "a <tool_call>{\"name\":\"f\"}</tool_call></think>\n<tool_call>{\"name\":\"f\"}</tool_call>",
     "R(a <tool_call>{\"name\":\"f\"}</tool_call>)T0(f)A0({})"},
};

OutputParserOptions OptionsOf(const Case& c) {
  OutputParserOptions options = CaseOptions(ToolFormat::kHermes);
  options.reasoning = c.rule;
  options.starts_in_reasoning = c.starts_inside;
  return options;
}

TEST(ReasoningParserTest, CasesAtEveryCut) {
  for (const Case& c : kCases) {
    const std::string_view text = c.text;
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      ASSERT_EQ(Parse(OptionsOf(c), {text.substr(0, cut), text.substr(cut)}), c.shown)
          << c.name << ", cut at " << cut;
    }
    std::vector<std::string_view> bytes;
    for (size_t i = 0; i < text.size(); ++i) bytes.push_back(text.substr(i, 1));
    EXPECT_EQ(Parse(OptionsOf(c), bytes), c.shown) << c.name;
  }
}

TEST(ReasoningParserTest, KnowsWhereItIs) {
  ReasoningParser parser(kR1, /*starts_in_reasoning=*/true);
  std::string reasoning;
  std::string rest;
  EXPECT_TRUE(parser.in_reasoning());
  parser.Push("a", reasoning, rest);
  EXPECT_TRUE(parser.in_reasoning());
  parser.Push("</think>", reasoning, rest);
  EXPECT_FALSE(parser.in_reasoning());
  EXPECT_EQ(reasoning, "a");
}

TEST(ReasoningParserTest, TheTailOfThePromptDecides) {
  const auto starts = [](ReasoningRule rule, std::string_view prompt) {
    return StartsInReasoning(rule, prompt, /*continues_message=*/false);
  };
  EXPECT_TRUE(starts(kR1, "<|im_start|>assistant\n"));
  EXPECT_TRUE(starts(kR1, "<|im_start|>assistant\n<think>\n"));
  EXPECT_FALSE(starts(kR1, "<|im_start|>assistant\n<think>\n\n</think>\n\n"));
  EXPECT_FALSE(starts(kQwen, "<|im_start|>assistant\n"));
  EXPECT_TRUE(starts(kQwen, "<|im_start|>assistant\n<think>"));
  EXPECT_FALSE(starts(kQwen, "<think>\n\n</think>\n\n"));
  EXPECT_FALSE(starts(ReasoningRule::kNone, "<think>"));
  EXPECT_TRUE(StartsInReasoning(kQwen, "a</think>b <think>half", /*continues_message=*/true));
  EXPECT_FALSE(StartsInReasoning(kQwen, "<think>a</think>b", /*continues_message=*/true));
  EXPECT_TRUE(StartsInReasoning(kR1, "half", /*continues_message=*/true));
}

TEST(ReasoningParserTest, NamesAndDetection) {
  EXPECT_EQ(*ReasoningRuleFromName("deepseek_r1"), kR1);
  EXPECT_EQ(*ReasoningRuleFromName("qwen3"), kQwen);
  EXPECT_EQ(*ReasoningRuleFromName("none"), ReasoningRule::kNone);
  EXPECT_FALSE(ReasoningRuleFromName("").ok());
  EXPECT_EQ(DetectReasoningRule("{{ '<think>' }}...</think>"), kQwen);
  EXPECT_EQ(DetectReasoningRule("{{ messages }}"), ReasoningRule::kNone);
}

}  // namespace
}  // namespace tessera::gateway
