#include "services/gateway/parse/tool_parser.h"

#include <gtest/gtest.h>

#include <set>

#include "common/base/random.h"
#include "common/base/utf8.h"
#include "tests/services/gateway/parse/parse_cases.h"

namespace tessera::gateway {
namespace {

std::vector<std::string_view> Characters(std::string_view text) {
  std::vector<std::string_view> pieces;
  for (size_t at = 0; at < text.size();) {
    const size_t length = LengthOfLead(text[at]);
    pieces.push_back(text.substr(at, length));
    at += length;
  }
  return pieces;
}

TEST(ToolParserTest, Cases) {
  for (const ParseCase& c : kParseCases) {
    uint32_t failures = 0;
    EXPECT_EQ(Parse(CaseOptions(c.format), {c.text}, &failures), c.shown) << c.name;
    EXPECT_EQ(failures, c.failures) << c.name;
  }
}

TEST(ToolParserTest, CutsDoNotMatter) {
  for (const ParseCase& c : kParseCases) {
    const std::vector<std::string_view> characters = Characters(c.text);
    uint32_t failures = 0;
    EXPECT_EQ(Parse(CaseOptions(c.format), characters, &failures), c.shown) << c.name;
    EXPECT_EQ(failures, c.failures) << c.name;
    const std::string_view text = c.text;
    size_t at = 0;
    for (const std::string_view character : characters) {
      at += character.size();
      ASSERT_EQ(Parse(CaseOptions(c.format), {text.substr(0, at), text.substr(at)}), c.shown)
          << c.name << ", cut at " << at;
    }
  }
}

TEST(ToolParserTest, ArgumentsComeAsTheyGrow) {
  for (const ToolFormat format : {ToolFormat::kHermes, ToolFormat::kQwen3Coder}) {
    OutputParser parser(CaseOptions(format));
    std::vector<OutputEvent> events;
    parser.Push(format == ToolFormat::kHermes
                    ? "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"one tw"
                    : "<tool_call><function=f><parameter=a>one tw",
                events);
    ASSERT_EQ(events.size(), 2u);
    EXPECT_EQ(events[0].name, "f");
    EXPECT_EQ(events[0].call_id, "call_0");
    EXPECT_TRUE(events[1].text.ends_with("one tw")) << events[1].text;
    EXPECT_EQ(parser.call_count(), 1u);
  }
}

TEST(ToolParserTest, OneCallWithoutParallelCalls) {
  OutputParserOptions options = CaseOptions(ToolFormat::kHermes);
  options.tool_options.parallel = false;
  EXPECT_EQ(
      Parse(options, {"a<tool_call>{\"name\":\"f\"}</tool_call>\n<tool_call>{\"name\":\"noop\","
                      "\"arguments\":{\"x\":1}}</tool_call>"}),
      "C(a)T0(f)A0({})");
}

TEST(ToolParserTest, WithoutFormatAllIsContent) {
  EXPECT_EQ(Parse(CaseOptions(ToolFormat::kNone), {"<tool_call>{\"name\":\"f\"}</tool_call>"}),
            "C(<tool_call>{\"name\":\"f\"}</tool_call>)");
}

TEST(ToolParserTest, LongWhiteSpaceIsHeldWithinBounds) {
  const std::string gap(1000, '\n');
  const std::string text = "a" + gap + "<tool_call>{\"name\":\"noop\"}</tool_call>" + gap + "b";
  const std::string kept(1000 - 64, '\n');
  EXPECT_EQ(Parse(CaseOptions(ToolFormat::kHermes), {text}),
            "C(a" + kept + ")T0(noop)A0({})C(" + kept + "b)");
  EXPECT_EQ(Parse(CaseOptions(ToolFormat::kHermes), Characters(text)),
            "C(a" + kept + ")T0(noop)A0({})C(" + kept + "b)");
}

TEST(ToolParserTest, NamesAndDetection) {
  EXPECT_EQ(*ToolFormatFromName("hermes"), ToolFormat::kHermes);
  EXPECT_EQ(*ToolFormatFromName("qwen3_coder"), ToolFormat::kQwen3Coder);
  EXPECT_EQ(*ToolFormatFromName("none"), ToolFormat::kNone);
  EXPECT_EQ(ToolFormatFromName("x").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetectToolFormat("... <tool_call>\n{{ x }}"), ToolFormat::kHermes);
  EXPECT_EQ(DetectToolFormat("<tool_call>\n<function={{ n }}>"), ToolFormat::kQwen3Coder);
  EXPECT_EQ(DetectToolFormat("{{ messages }}"), ToolFormat::kNone);
}

TEST(ToolParserTest, CallIds) {
  EXPECT_EQ(MakeCallId(0, 0x1f), "call_00000000000000000000001f");
  EXPECT_EQ(MakeCallId(~uint64_t{0}, 0), "call_ffffffff0000000000000000");
}

}  // namespace
}  // namespace tessera::gateway
