#include "tests/services/gateway/parse/parse_cases.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/json/json.h"

namespace tessera::gateway {
namespace {

constexpr ToolFormat kHermes = ToolFormat::kHermes;
constexpr ToolFormat kCoder = ToolFormat::kQwen3Coder;

constexpr std::string_view kSchema = R"({
  "type": "object",
  "$defs": {"Count": {"type": "integer"}},
  "properties": {
    "a": {"type": "string"}, "b": {"type": "integer"}, "c": {"type": "boolean"},
    "d": {"type": "object"}, "e": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "g": {"type": ["number"]}, "h": {"type": "array"}, "i": {"enum": ["red", "green"]},
    "j": {"$ref": "#/$defs/Count"}, "k": {}
  }})";

}  // namespace

std::vector<ToolDefinition> CaseTools() {
  const auto document = JsonDocument::Parse(kSchema);
  TESSERA_CHECK(document.ok());
  std::vector<ToolDefinition> tools(2);
  tools[0].name = "f";
  tools[0].parameters = TemplateValue::FromJson(document->root());
  tools[1].name = "noop";
  return tools;
}

std::string Shown(const std::vector<OutputEvent>& events) {
  std::string shown;
  for (const OutputEvent& event : events) {
    switch (event.kind) {
      case OutputEvent::Kind::kReasoning:
        absl::StrAppend(&shown, "R(", event.text, ")");
        break;
      case OutputEvent::Kind::kContent:
        absl::StrAppend(&shown, "C(", event.text, ")");
        break;
      case OutputEvent::Kind::kToolCall:
        absl::StrAppend(&shown, "T", event.call_index, "(", event.name, ")");
        break;
      case OutputEvent::Kind::kArguments:
        absl::StrAppend(&shown, "A", event.call_index, "(", event.text, ")");
        break;
    }
  }
  return shown;
}

OutputParserOptions CaseOptions(ToolFormat format) {
  OutputParserOptions options;
  options.tools = format;
  options.tool_options.tools = CaseTools();
  options.tool_options.next_call_id = [next = 0]() mutable {
    return absl::StrCat("call_", next++);
  };
  return options;
}

std::string Parse(OutputParserOptions options, const std::vector<std::string_view>& pieces,
                  uint32_t* failures) {
  OutputParser parser(std::move(options));
  std::vector<OutputEvent> events;
  for (const std::string_view piece : pieces) parser.Push(piece, events);
  parser.Flush(events);
  if (failures != nullptr) *failures = parser.failure_count();
  return Shown(events);
}

const std::vector<ParseCase> kParseCases = {
    {"plain", kHermes, "Just words, 1 < 2 <b>.\n\n", "C(Just words, 1 < 2 <b>.\n\n)"},
    {"empty", kHermes, "", ""},
    {"one call", kHermes,
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"x\"}}\n</tool_call>",
     "T0(f)A0({\"a\": \"x\"})"},
    {"text around", kHermes,
     "Let me see.\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n\nDone.",
     "C(Let me see.)T0(f)A0({})C(Done.)"},
    {"two calls", kHermes,
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"b\": 1}}\n</tool_call>\n<tool_call>\n"
     "{\"name\": \"noop\", \"arguments\": {}}\n</tool_call>\n",
     "T0(f)A0({\"b\": 1})T1(noop)A1({})"},
    {"two objects in one tag", kHermes,
     "<tool_call>{\"name\":\"f\",\"arguments\":{}}\n{\"name\":\"noop\"}</tool_call>",
     "T0(f)A0({})T1(noop)A1({})"},
    {"arguments first", kHermes,
     "<tool_call>{\"arguments\": {\"a\": [1, {\"b\": null}]}, \"name\": \"f\"}</tool_call>",
     "T0(f)A0({\"a\": [1, {\"b\": null}]})"},
    {"parameters", kHermes, "<tool_call>{\"name\":\"f\",\"parameters\":{\"a\":1}}</tool_call>",
     "T0(f)A0({\"a\":1})"},
    {"no arguments", kHermes, "<tool_call>{\"name\": \"noop\"}</tool_call>", "T0(noop)A0({})"},
    {"null arguments", kHermes, "<tool_call>{\"name\":\"noop\",\"arguments\":null}</tool_call>",
     "T0(noop)A0({})"},
    {"arguments as a string", kHermes,
     "<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 1}\"}</tool_call>",
     "T0(f)A0({\"a\": 1})"},
    {"other members", kHermes,
     "<tool_call>{\"id\": 7, \"name\": \"f\", \"arguments\": {}, \"x\": [true, "
     "-1.5e3]}</tool_call>",
     "T0(f)A0({})"},
    {"tags in strings", kHermes,
     "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"</tool_call><tool_call>{\\\"\"}}</"
     "tool_call>",
     "T0(f)A0({\"a\":\"</tool_call><tool_call>{\\\"\"})"},
    {"line break in a string", kHermes,
     "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"x\ny\"}}</tool_call>",
     "T0(f)A0({\"a\":\"x\\ny\"})"},
    {"escapes", kHermes,
     "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"\\u00e9\\n\\\\\"}}</tool_call>",
     "T0(f)A0({\"a\":\"\\u00e9\\n\\\\\"})"},
    {"closing tag missing", kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":1}}",
     "T0(f)A0({\"a\":1})"},
    {"closing tag missing, another follows", kHermes,
     "<tool_call>{\"name\":\"f\",\"arguments\":{}}<tool_call>{\"name\":\"noop\"}</tool_call>",
     "T0(f)A0({})T1(noop)A1({})"},
    {"a bracket too many", kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{}}}\n</tool_call>",
     "T0(f)A0({})"},
    {"talk about the tag", kHermes, "Use <tool_call> and </tool_call> then.",
     "C(Use <tool_call> and </tool_call> then.)", 1},
    {"no object", kHermes, "x\n<tool_call>\nf(1)\n</tool_call>",
     "C(x\n<tool_call>\nf(1)\n</tool_call>)", 1},
    {"no name", kHermes, "<tool_call>{\"arguments\":{}}</tool_call>",
     "C(<tool_call>{\"arguments\":{}}</tool_call>)", 1},
    {"name is no string", kHermes, "<tool_call>{\"name\":1}</tool_call>",
     "C(<tool_call>{\"name\":1}</tool_call>)", 1},
    {"arguments are no object", kHermes,
     "<tool_call>{\"name\":\"f\",\"arguments\":[1]}</tool_call>",
     "C(<tool_call>{\"name\":\"f\",\"arguments\":[1]}</tool_call>)", 1},
    {"broken before the call is told", kHermes, "<tool_call>{\"name\" \"f\"}</tool_call>\n",
     "C(<tool_call>{\"name\" \"f\"}</tool_call>\n)", 1},
    {"a call after a broken one", kHermes,
     "<tool_call>oops</tool_call><tool_call>{\"name\":\"noop\"}</tool_call>",
     "C(<tool_call>oops</tool_call>)T0(noop)A0({})", 1},
    {"broken inside the arguments", kHermes,
     "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\": oops}}</tool_call> after",
     "T0(f)A0({\"a\": oops}})C(after)", 1},
    {"cut off", kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"x",
     "T0(f)A0({\"a\":\"x)", 1},
    {"cut off in the name", kHermes, "hm <tool_call>{\"name\":\"f",
     "C(hm <tool_call>{\"name\":\"f)", 1},
    {"cut off in the tag", kHermes, "hm <tool_ca", "C(hm <tool_ca)"},
    {"numbers", kHermes,
     "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":[0,-1,2.5,1e-3,12]}}</tool_call>",
     "T0(f)A0({\"a\":[0,-1,2.5,1e-3,12]})"},
    {"not latin", kHermes,
     "Größe 北京\n<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"北京 "
     "🙂\"}}</tool_call>",
     "C(Größe 北京)T0(f)A0({\"a\":\"北京 🙂\"})"},

    {"coder", kCoder,
     "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n</function>\n</tool_call>",
     "T0(f)A0({\"a\": \"x\"})"},
    {"coder, inline", kCoder,
     "Hm.\n<tool_call><function=f><parameter=a>x y</parameter><parameter=b>5</parameter></function>"
     "</tool_call>",
     "C(Hm.)T0(f)A0({\"a\": \"x y\", \"b\": 5})"},
    {"coder, no parameters", kCoder, "<tool_call>\n<function=noop>\n</function>\n</tool_call>\n",
     "T0(noop)A0({})"},
    {"coder, types", kCoder,
     "<tool_call>\n<function=f>\n<parameter=b>\n12\n</parameter>\n<parameter=c>\nTrue\n</"
     "parameter>\n"
     "<parameter=d>\n{\"x\": [1]}\n</parameter>\n<parameter=e>\nnull\n</parameter>\n<parameter=g>\n"
     "1.5\n</parameter>\n<parameter=h>\n[1, 2]\n</parameter>\n<parameter=i>\nred\n</parameter>\n"
     "<parameter=j>\n3\n</parameter>\n</function>\n</tool_call>",
     "T0(f)A0({\"b\": 12, \"c\": true, \"d\": {\"x\": [1]}, \"e\": null, \"g\": 1.5, \"h\": [1, "
     "2], "
     "\"i\": \"red\", \"j\": 3})"},
    {"coder, values that do not fit", kCoder,
     "<tool_call><function=f><parameter=b>many</parameter><parameter=c>yes</parameter><parameter=d>"
     "{x}</parameter><parameter=g>1.</parameter></function></tool_call>",
     "T0(f)A0({\"b\": \"many\", \"c\": \"yes\", \"d\": \"{x}\", \"g\": \"1.\"})"},
    {"coder, strings keep their words", kCoder,
     "<tool_call><function=f><parameter=a>null</parameter><parameter=i>12</parameter></function>"
     "</tool_call>",
     "T0(f)A0({\"a\": \"null\", \"i\": \"12\"})"},
    {"coder, nullable that is a word", kCoder,
     "<tool_call><function=f><parameter=e>nullify</parameter></function></tool_call>",
     "T0(f)A0({\"e\": \"nullify\"})"},
    {"coder, only one newline is the tag's", kCoder,
     "<tool_call>\n<function=f>\n<parameter=a>\n\n x\n\n</parameter>\n</function>\n</tool_call>",
     "T0(f)A0({\"a\": \"\\n x\\n\"})"},
    {"coder, empty value", kCoder,
     "<tool_call>\n<function=f>\n<parameter=a>\n</parameter>\n</function>\n</tool_call>",
     "T0(f)A0({\"a\": \"\"})"},
    {"coder, tags in the value", kCoder,
     "<tool_call>\n<function=f>\n<parameter=a>\nif a </parameter> b <tool_call> c </function> d "
     "<parameter=zz> e\n</parameter>\n</function>\n</tool_call>",
     "T0(f)A0({\"a\": \"if a </parameter> b <tool_call> c </function> d <parameter=zz> e\"})"},
    {"coder, a call in the value", kCoder,
     "<tool_call>\n<function=f>\n<parameter=a>\nsay:\n<tool_call>\n<function=f>\n<parameter=b>\n1\n"
     "</parameter>\n</function>\n</tool_call>\nend\n</parameter>\n</function>\n</tool_call>",
     "T0(f)A0({\"a\": \"say:\\n<tool_call>\\n<function=f>\\n<parameter=b>\\n1\\n</parameter>\\n"
     "</function>\\n</tool_call>\\nend\"})"},
    {"coder, </parameter> missing", kCoder,
     "<tool_call>\n<function=f>\n<parameter=a>\nx\n<parameter=b>\n1\n</function>\n</tool_call>",
     "T0(f)A0({\"a\": \"x\", \"b\": 1})"},
    {"coder, </function> missing", kCoder,
     "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n</tool_call>\nbye",
     "T0(f)A0({\"a\": \"x\"})C(bye)"},
    {"coder, </tool_call> missing", kCoder,
     "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n</function>\n",
     "T0(f)A0({\"a\": \"x\"})"},
    {"coder, <tool_call> missing", kCoder,
     "ok\n<function=f>\n<parameter=a>\nx\n</parameter>\n</function>\n</tool_call>",
     "C(ok)T0(f)A0({\"a\": \"x\"})"},
    {"coder, <tool_call> missing and not ours", kCoder, "ok\n<function=unknown>\n</function>",
     "C(ok\n<function=unknown>\n</function>)"},
    {"coder, a function in a sentence", kCoder, "write <function=f> here",
     "C(write <function=f> here)"},
    {"coder, unknown function", kCoder,
     "<tool_call><function=other><parameter=q>1</parameter></function></tool_call>",
     "T0(other)A0({\"q\": \"1\"})"},
    {"coder, two calls", kCoder,
     "<tool_call>\n<function=noop>\n</function>\n</tool_call>\n<tool_call>\n<function=f>\n"
     "<parameter=b>\n2\n</parameter>\n</function>\n</tool_call>",
     "T0(noop)A0({})T1(f)A1({\"b\": 2})"},
    {"coder, two functions in one tag", kCoder,
     "<tool_call>\n<function=noop>\n</function>\n<function=f>\n<parameter=b>\n2\n</parameter>\n"
     "</function>\n</tool_call>",
     "T0(noop)A0({})T1(f)A1({\"b\": 2})"},
    {"coder, all closing tags missing", kCoder,
     "<tool_call>\n<function=noop>\n<tool_call>\n<function=noop>\n", "T0(noop)A0({})T1(noop)A1({})",
     1},
    {"coder, a name twice", kCoder,
     "<tool_call><function=f><parameter=b>1</parameter>\n<parameter=b>2</parameter></function>"
     "</tool_call>",
     "T0(f)A0({\"b\": \"1</parameter>\\n<parameter=b>2\"})"},
    {"coder, escapes", kCoder,
     "<tool_call><function=f><parameter=a>say \"hi\"\\\t</parameter></function></tool_call>",
     "T0(f)A0({\"a\": \"say \\\"hi\\\"\\\\\\t\"})"},
    {"coder, windows", kCoder,
     "<tool_call>\r\n<function=f>\r\n<parameter=a>\r\nx\r\ny\r\n</parameter>\r\n</function>\r\n"
     "</tool_call>",
     "T0(f)A0({\"a\": \"x\\r\\ny\"})"},
    {"coder, no function", kCoder, "<tool_call>\n{\"name\": \"f\"}\n</tool_call>",
     "C(<tool_call>\n{\"name\": \"f\"}\n</tool_call>)", 1},
    {"coder, no name", kCoder, "a <tool_call>\n<function=>", "C(a <tool_call>\n<function=>)", 1},
    {"coder, cut off in a value", kCoder, "<tool_call>\n<function=f>\n<parameter=a>\nhalf a",
     "T0(f)A0({\"a\": \"half a)", 1},
    {"coder, ends behind a parameter", kCoder,
     "<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>", "T0(f)A0({\"a\": \"x\"})", 1},
    {"coder, without a schema", kCoder,
     "<tool_call><function=f><parameter=k>5</parameter></function></tool_call>",
     "T0(f)A0({\"k\": \"5\"})"},
};

}  // namespace tessera::gateway
