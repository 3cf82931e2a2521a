#include "services/gateway/template/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/services/gateway/template/template_cases.h"

namespace tessera::gateway {
namespace {

using ::testing::HasSubstr;

ValueMap Variables(std::string_view json) {
  const auto document = JsonDocument::Parse(json);
  EXPECT_TRUE(document.ok()) << document.status();
  return TemplateValue::FromJson(document->root()).AsDict();
}

absl::StatusOr<std::string> Render(std::string_view source, std::string_view variables = "{}",
                                   const TemplateLimits& limits = {}) {
  const auto parsed = ChatTemplate::Parse(source, limits);
  if (!parsed.ok()) return parsed.status();
  return (*parsed)->Render(Variables(variables),
                           absl::FromCivil(absl::CivilDay(2026, 3, 7), absl::UTCTimeZone()));
}

std::string ErrorOf(std::string_view source, std::string_view variables = "{}",
                    const TemplateLimits& limits = {}) {
  const absl::StatusOr<std::string> text = Render(source, variables, limits);
  if (text.ok()) return "no error: " + *text;
  EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(text.status().message());
}

TEST(ChatTemplateTest, ReferenceCases) {
  for (const TemplateCase& c : kTemplateCases) {
    const absl::StatusOr<std::string> text = Render(c.source, kCaseVariables);
    ASSERT_TRUE(text.ok()) << c.source << ": " << text.status();
    EXPECT_EQ(*text, c.text) << c.source;
  }
}

TEST(ChatTemplateTest, ChatMl) {
  constexpr std::string_view kSource =
      "{%- for message in messages %}\n"
      "    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n"
      "{%- endfor %}\n"
      "{%- if add_generation_prompt %}\n"
      "    {{- '<|im_start|>assistant\\n' }}\n"
      "{%- endif %}\n";
  EXPECT_EQ(
      *Render(kSource,
              R"({"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Yo"}],
                        "add_generation_prompt":true})"),
      "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n<|im_start|>"
      "assistant\n");
}

TEST(ChatTemplateTest, Strftime) {
  EXPECT_EQ(*Render("{{ strftime_now('%Y-%m-%d, %d %b') }}"), "2026-03-07, 07 Mar");
}

TEST(ChatTemplateTest, GenerationMarksPrintTheirInside) {
  EXPECT_EQ(*Render("a{% generation %}b{% endgeneration %}c"), "abc");
}

TEST(ChatTemplateTest, SyntaxErrorsNameTheLine) {
  EXPECT_THAT(ErrorOf("a\n{% if x %}"), HasSubstr("line 2: this has no {% endif %}"));
  EXPECT_THAT(ErrorOf("\n\n{{ 1 +"), HasSubstr("line 3: a tag is not closed"));
  EXPECT_THAT(ErrorOf("{{ 'a }}"), HasSubstr("a string is not closed"));
  EXPECT_THAT(ErrorOf("{# a"), HasSubstr("a comment is not closed"));
  EXPECT_THAT(ErrorOf("{% raw %}a"), HasSubstr("{% endraw %}"));
  EXPECT_THAT(ErrorOf("{% endfor %}"), HasSubstr("closes nothing"));
  EXPECT_THAT(ErrorOf("{{ a b }}"), HasSubstr("expected '}}', found 'b'"));
  EXPECT_THAT(ErrorOf("{{ [1, }}"), HasSubstr("expected an expression"));
  EXPECT_THAT(ErrorOf("{% include 'x' %}"), HasSubstr("{% include %} is not supported"));
  EXPECT_THAT(ErrorOf("{% break %}"), HasSubstr("outside of a loop"));
  EXPECT_THAT(ErrorOf("{{ f(*x) }}"), HasSubstr("not supported"));
  EXPECT_THAT(ErrorOf("{{ ; }}"), HasSubstr("';' means nothing here"));
  EXPECT_THAT(ErrorOf("\xff"), HasSubstr("UTF-8"));
}

TEST(ChatTemplateTest, RunTimeErrorsNameTheLine) {
  EXPECT_THAT(ErrorOf("a\n{{ x.y.z }}", R"({"x":{}})"),
              HasSubstr("chat template: line 2: 'x.y' is undefined"));
  EXPECT_THAT(ErrorOf("{{ raise_exception('only users may speak') }}"),
              HasSubstr("only users may speak"));
  EXPECT_THAT(ErrorOf("{{ 1 + 'a' }}"),
              HasSubstr("'+' is not defined for an integer and a string"));
  EXPECT_THAT(ErrorOf("{{ 1 // 0 }}"), HasSubstr("division by zero"));
  EXPECT_THAT(ErrorOf("{{ 9223372036854775 * 99999 }}"), HasSubstr("64 bits"));
  EXPECT_THAT(ErrorOf("{{ x() }}"), HasSubstr("not a function"));
  EXPECT_THAT(ErrorOf("{{ 1|nofilter }}"), HasSubstr("'nofilter' is not supported"));
  EXPECT_THAT(ErrorOf("{{ 1 is notest }}"), HasSubstr("'notest' is not supported"));
  EXPECT_THAT(ErrorOf("{{ 'a'.nomethod() }}"), HasSubstr("'nomethod'"));
  EXPECT_THAT(ErrorOf("{% for x in 5 %}{% endfor %}"), HasSubstr("cannot be run over"));
  EXPECT_THAT(ErrorOf("{% for a, b in [[1]] %}{% endfor %}"), HasSubstr("2 names"));
  EXPECT_THAT(ErrorOf("{{ x|tojson }}"), HasSubstr("JSON has no undefined"));
  EXPECT_THAT(ErrorOf("{{ [1, 'a']|sort }}"), HasSubstr("sorted"));
}

TEST(ChatTemplateTest, ValuesDoNotChange) {
  EXPECT_THAT(ErrorOf("{{ l.append(1) }}", R"({"l":[]})"), HasSubstr("lists do not change"));
  EXPECT_THAT(ErrorOf("{% set d.x = 1 %}", R"({"d":{}})"), HasSubstr("no namespace"));
  EXPECT_THAT(ErrorOf("{{ d.update({}) }}", R"({"d":{}})"), HasSubstr("do not change"));
}

TEST(ChatTemplateTest, NothingOutsideCanBeReached) {
  EXPECT_EQ(*Render("{{ ''.__class__ }}{{ [].__class__ is defined }}"), "False");
  EXPECT_THAT(ErrorOf("{{ ''.__class__.__mro__ }}"), HasSubstr("is undefined"));
  EXPECT_THAT(ErrorOf("{{ cycler.__init__ }}"), HasSubstr("'cycler' is undefined"));
}

TEST(ChatTemplateTest, LimitsHold) {
  TemplateLimits small;
  small.steps_max = 100000;
  small.bytes_max = 1 << 20;
  small.output_bytes_max = 1 << 16;
  EXPECT_THAT(ErrorOf("{{ range(1000000000)|length }}", "{}", small), HasSubstr("too m"));
  EXPECT_THAT(
      ErrorOf("{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}", "{}",
              small),
      HasSubstr("too m"));
  EXPECT_THAT(ErrorOf("{{ 'a' * 1000000000000 }}", "{}", small), HasSubstr("too much memory"));
  EXPECT_THAT(ErrorOf("{% set ns = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% "
                      "set ns.s = ns.s + "
                      "ns.s %}{% endfor %}",
                      "{}", small),
              HasSubstr("too much memory"));
  EXPECT_THAT(
      ErrorOf("{% for i in range(5000) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' }}{% endfor %}",
              "{}", small),
      HasSubstr("too long"));
  EXPECT_THAT(ErrorOf("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), HasSubstr("too deeply"));
  EXPECT_THAT(ErrorOf("{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = "
                      "[ns.l] %}{% endfor %}"),
              HasSubstr("nested too deeply"));
  EXPECT_THAT(ErrorOf(std::string(100000, '(')), HasSubstr("no error"));  // no tag, only text
  EXPECT_THAT(ErrorOf("{{ " + std::string(100000, '(') + " }}"), HasSubstr("nested too deeply"));
  EXPECT_THAT(ErrorOf("{{ " + std::string(100000, '-') + "1 }}"), HasSubstr("nested too deeply"));
  std::string sum = "{{ 1";
  for (int i = 0; i < 100000; ++i) sum += "+1";
  EXPECT_THAT(ErrorOf(sum + " }}"), HasSubstr("nested too deeply"));
  std::string ifs;
  for (int i = 0; i < 100000; ++i) ifs += "{% if 1 %}";
  EXPECT_THAT(ErrorOf(ifs), HasSubstr("nested too deeply"));
  EXPECT_THAT(ErrorOf(std::string(2 << 20, 'a')), HasSubstr("1048576"));
}

TEST(ChatTemplateTest, ValuesThatHoldThemselves) {
  constexpr std::string_view kKnot =
      "{% set a = namespace() %}{% set b = namespace() %}{% set a.x = a %}{% set a.y = a %}{% set "
      "b.x = b %}"
      "{% set b.y = b %}";
  EXPECT_THAT(*Render(std::string(kKnot) + "{{ a == b }}"), HasSubstr("False"));  // given up
  TemplateLimits small;
  small.output_bytes_max = 1 << 16;
  EXPECT_THAT(ErrorOf(std::string(kKnot) + "{{ a }}", "{}", small), HasSubstr("too long"));
  EXPECT_THAT(ErrorOf(std::string(kKnot) + "{{ a|tojson }}"), HasSubstr("tojson"));
}

TEST(TemplateMessagesTest, AsTemplatesWantThem) {
  const auto document = JsonDocument::Parse(R"([
    {"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
    {"role":"assistant","content":null,"reasoning":"why","tool_calls":[
      {"id":"1","function":{"name":"f","arguments":"{\"z\":1,\"a\":[2.0]}"}},
      {"id":"2","function":{"name":"g","arguments":""}}]},
    {"role":"user","content":"x","reasoning_content":"r"}])");
  const auto messages = TemplateMessages(document->root());
  ASSERT_TRUE(messages.ok()) << messages.status();
  EXPECT_EQ(
      *ToJson(*messages, {}, 10000),
      R"([{"role": "system", "content": "ab"}, )"
      R"({"role": "assistant", "content": "", "reasoning": "why", "tool_calls": [)"
      R"({"id": "1", "function": {"name": "f", "arguments": {"z": 1, "a": [2.0]}}}, )"
      R"({"id": "2", "function": {"name": "g", "arguments": {}}}], "reasoning_content": "why"}, )"
      R"({"role": "user", "content": "x", "reasoning_content": "r", "reasoning": "r"}])");
}

TEST(TemplateMessagesTest, ArgumentsThatAreNoObjectStayAString) {
  const auto shown = [](std::string_view json) {
    return *ToJson(ArgumentsValue(json), {}, /*bytes_max=*/1000);
  };
  EXPECT_EQ(shown(R"({"a":1})"), R"({"a": 1})");
  EXPECT_EQ(shown(""), "{}");
  EXPECT_EQ(shown(R"({"a)"), R"("{\"a")");
  EXPECT_EQ(shown("[1]"), R"("[1]")");
  EXPECT_EQ(shown("null"), R"("null")");
}

TEST(TemplateMessagesTest, ErrorsNameThePath) {
  const auto error = [](std::string_view json) {
    const auto document = JsonDocument::Parse(json);
    return std::string(TemplateMessages(document->root()).status().message());
  };
  EXPECT_THAT(error("{}"), HasSubstr("array"));
  EXPECT_THAT(error("[3]"), HasSubstr("[0]"));
  EXPECT_THAT(error(R"([{"content":[{"type":"image_url"}]}])"), HasSubstr("[0].content[0].type"));
  EXPECT_THAT(error(R"([{"tool_calls":[3]}])"), HasSubstr("[0].tool_calls[0]"));
}

}  // namespace
}  // namespace tessera::gateway
