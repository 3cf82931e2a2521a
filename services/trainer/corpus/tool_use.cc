#include "services/trainer/corpus/tool_use.h"

#include <algorithm>
#include <array>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "services/trainer/corpus/everyday_tools.h"
#include "services/trainer/corpus/faq.h"
#include "services/trainer/corpus/lexicon.h"

namespace tessera::trainer {
namespace {

constexpr auto kVerbs =
    std::to_array<std::string_view>({"get", "find", "fetch", "read", "show", "check", "set", "make",
                                     "send", "add", "run", "start"});
constexpr auto kUsualKeys = std::to_array<std::string_view>(
    {"name", "city", "id", "text", "count", "date", "unit", "color", "size", "title"});

std::string ToolName(Draw& draw) {
  switch (draw.Below(5)) {
    case 0:
      return draw.Word(1, 3);
    case 1:
      return absl::StrCat(draw.Word(1, 2), "_", draw.Word(1, 2));
    case 2:
      return absl::StrCat(draw.Of(kVerbs), "_", draw.AnyWord(), "_", draw.Word(1, 2));
    default:
      return absl::StrCat(draw.Of(kVerbs), "_", draw.Word(1, 2));
  }
}

std::string Key(Draw& draw) {
  if (draw.split() == Split::kTraining && draw.Chance(0.4)) return draw.Of(kUsualKeys);
  return draw.Chance(0.2) ? absl::StrCat(draw.Word(1, 2), "_", draw.Word(1, 1)) : draw.Word(1, 2);
}

std::string TextValue(Draw& draw) {
  switch (draw.Below(8)) {
    case 0:
      return draw.Capitalised();
    case 1:
      return draw.Of(draw.Chance(0.5) ? Cities() : FirstNames());
    case 2:
      return absl::StrCat(draw.AnyWord(), " ", draw.AnyWord());
    case 3:
      return absl::StrCat(draw.AnyWord(), draw.Digits(draw.Between(1, 2)));
    default:
      return draw.AnyWord();
  }
}

std::string ValueOf(const ToolParameter& parameter, Draw& draw) {
  if (!parameter.choices.empty()) return parameter.choices[draw.Below(parameter.choices.size())];
  if (parameter.type == "integer") return draw.Digits(draw.Between(1, 4));
  if (parameter.type == "boolean") return draw.Chance(0.5) ? "true" : "false";
  return TextValue(draw);
}

std::string SlotValue(SlotKind slot, Draw& draw) {
  switch (slot) {
    case SlotKind::kCity:
      return draw.Chance(0.5) ? draw.Of(Cities()) : draw.Capitalised();
    case SlotKind::kPerson:
      return draw.Chance(0.5) ? draw.Of(FirstNames()) : draw.Capitalised();
    case SlotKind::kNumber:
      return draw.Digits(draw.Between(1, 3));
    case SlotKind::kThing:
      return draw.Chance(0.5) ? absl::StrCat(draw.AnyWord(), draw.Digits(draw.Between(1, 2)))
                              : draw.AnyWord();
    default:
      return draw.Chance(0.2) ? absl::StrCat(draw.AnyWord(), " ", draw.AnyWord()) : draw.AnyWord();
  }
}

// Parameters of different names.
std::vector<ToolParameter> Parameters(size_t count, Draw& draw) {
  std::vector<ToolParameter> parameters;
  while (parameters.size() < count) {
    ToolParameter parameter;
    parameter.name = Key(draw);
    if (std::any_of(parameters.begin(), parameters.end(),
                    [&](const ToolParameter& p) { return p.name == parameter.name; })) {
      continue;
    }
    const size_t type = draw.Below(10);
    if (type >= 7) parameter.type = type == 9 ? "boolean" : "integer";
    if (draw.Chance(0.25)) parameter.description = absl::StrCat("The ", draw.AnyWord(), ".");
    parameter.required = parameters.empty() || draw.Chance(0.5);
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

constexpr auto kNamedFrames = std::to_array<std::string_view>(
    {"Call $ with @.", "Use $ with @.", "Please call $ with @.", "Run $ with @.",
     "Use the tool $ with @.", "Call the function $: @", "Can you call $ with @?",
     "I want you to use $ with @.", "$: @", "Invoke $ with @.", "call $ @",
     "Please use the $ tool with @."});
constexpr auto kBareFrames = std::to_array<std::string_view>(
    {"Call $.", "Use $.", "Please call $.", "Run $.", "Use the tool $.", "Can you call $?"});

// "k=v and l=w", in one of six notations and two ways to join.
std::string ArgumentText(const std::vector<std::pair<std::string, std::string>>& arguments,
                         Draw& draw) {
  const size_t notation = draw.Below(6);
  const std::string joiner = draw.Chance(0.5) ? " and " : ", ";
  std::string text;
  for (const auto& [key, value] : arguments) {
    if (!text.empty()) text += joiner;
    switch (notation) {
      case 0:
        absl::StrAppend(&text, key, "=", value);
        break;
      case 1:
        absl::StrAppend(&text, key, " ", value);
        break;
      case 2:
        absl::StrAppend(&text, key, ": ", value);
        break;
      case 3:
        absl::StrAppend(&text, key, " = ", value);
        break;
      case 4:
        absl::StrAppend(&text, key, " \"", value, "\"");
        break;
      default:
        absl::StrAppend(&text, key, " set to ", value);
    }
  }
  return text;
}

std::string Sentence(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

}  // namespace

ToolScene::ToolScene(size_t count, double everyday, Draw& draw) {
  while (tools_.size() < count) {
    draw.Chance(everyday) ? AddEverydayTool(draw) : AddMadeUpTool(draw);
    // Two tools of one kind, name or description cannot be told apart.
    const size_t last = tools_.size() - 1;
    for (size_t i = 0; i < last; ++i) {
      if (tools_[i].name == tools_[last].name ||
          tools_[i].description == tools_[last].description ||
          (needs_[i].kind == needs_[last].kind && needs_[i].kind != 0)) {
        tools_.pop_back();
        needs_.pop_back();
        break;
      }
    }
  }
}

void ToolScene::AddMadeUpTool(Draw& draw) {
  Tool tool;
  Need need;
  tool.parameters = Parameters(draw.Between(1, 3), draw);
  tool.parameters[0].type = "string";
  const std::string noun = draw.AnyWord();
  const std::string of = draw.Of({"of", "for", "in"});
  const std::string key = tool.parameters[0].name;
  if (draw.Chance(0.65)) {
    tool.description =
        draw.Of({"Get the ", "Find the ", "Tells the ", "Show the ", "Returns the "});
    absl::StrAppend(&tool.description, noun,
                    draw.Chance(0.6) ? absl::StrCat(" ", of, " a ", key) : "", ".");
    tool.name = draw.Chance(0.5)
                    ? absl::StrCat(draw.Of({"get", "find", "fetch", "show", "read"}), "_", noun)
                    : (draw.Chance(0.3) ? noun : ToolName(draw));
    for (const char* const frame :
         {"What is the # @ $?", "Tell me the # @ $.", "I need the # @ $.", "Show me the # @ $.",
          "Give me the # @ $.", "How is the # @ $?", "Do you know the # @ $?", "# @ $"}) {
      need.requests.push_back(absl::StrReplaceAll(frame, {{"#", noun}, {"@", of}}));
    }
  } else {
    const std::string verb =
        draw.Of({"send", "make", "start", "open", "add", "move", "clean", "buy"});
    tool.description = absl::StrCat(Sentence(verb), " a ", noun,
                                    draw.Chance(0.6) ? absl::StrCat(" for a ", key) : "", ".");
    tool.name = draw.Chance(0.7) ? absl::StrCat(verb, "_", noun) : ToolName(draw);
    for (const char* const frame : {"% a # for $.", "Please % a # for $.", "I want to % a # for $.",
                                    "Can you % a # for $?", "% the # for $."}) {
      need.requests.push_back(Sentence(absl::StrReplaceAll(frame, {{"%", verb}, {"#", noun}})));
    }
  }
  tools_.push_back(std::move(tool));
  needs_.push_back(std::move(need));
}

void ToolScene::AddEverydayTool(Draw& draw) {
  const size_t index = draw.Below(EverydayTools().size());
  const EverydayTool& source = EverydayTools()[index];
  Tool tool;
  Need need{.kind = index + 1, .requests = {}};
  tool.name = draw.Of(source.names);
  tool.description = draw.Of(source.descriptions);
  tool.parameters.push_back({.name = draw.Of(source.keys)});
  if (source.slot == SlotKind::kNumber) tool.parameters[0].type = "integer";
  if (source.slot == SlotKind::kCity && draw.Chance(0.3)) {
    tool.parameters[0].description = draw.Of({"Name of the city.", "The city.", "City name"});
  }
  if (draw.Chance(0.3)) {
    ToolParameter more{.name = draw.Of({"unit", "units", "language", "format"}), .required = false};
    if (more.name.starts_with("unit") && draw.Chance(0.5)) more.choices = {"celsius", "fahrenheit"};
    tool.parameters.push_back(std::move(more));
  }
  // Requests of everyday tools hold their value already, which is behind a bar.
  for (const std::string_view request : source.requests) {
    const std::string value = SlotValue(source.slot, draw);
    need.requests.push_back(
        absl::StrCat(absl::StrReplaceAll(std::string(request), {{"$", value}}), "|", value));
  }
  tools_.push_back(std::move(tool));
  needs_.push_back(std::move(need));
}

ToolCall ToolScene::NamedCall(size_t index, Draw& draw, std::string* request) const {
  const Tool& tool = tools_[index];
  ToolCall call{.name = tool.name, .arguments = {}};
  for (const ToolParameter& parameter : tool.parameters) {
    if (parameter.required || draw.Chance(0.4)) {
      call.arguments.emplace_back(parameter.name, ValueOf(parameter, draw));
    }
  }
  if (draw.Chance(0.25)) draw.Shuffle(call.arguments);
  if (call.arguments.empty()) {
    *request = absl::StrReplaceAll(draw.Of(kBareFrames), {{"$", tool.name}});
  } else {
    *request = absl::StrReplaceAll(draw.Of(kNamedFrames),
                                   {{"$", tool.name}, {"@", ArgumentText(call.arguments, draw)}});
  }
  return call;
}

ToolCall ToolScene::NeededCall(size_t index, Draw& draw, std::string* request) const {
  const Tool& tool = tools_[index];
  ToolCall call{.name = tool.name, .arguments = {}};
  std::string text = needs_[index].requests[draw.Below(needs_[index].requests.size())];
  std::string value;
  if (const size_t bar = text.find('|'); bar != std::string::npos) {
    value = text.substr(bar + 1);
    text.resize(bar);
  } else {
    value = draw.Chance(0.4) ? draw.Of(Cities()) : TextValue(draw);
    text = absl::StrReplaceAll(text, {{"$", value}});
  }
  call.arguments.emplace_back(tool.parameters[0].name, value);
  std::vector<std::pair<std::string, std::string>> more;
  for (size_t i = 1; i < tool.parameters.size(); ++i) {
    const ToolParameter& parameter = tool.parameters[i];
    if (parameter.required || draw.Chance(0.3)) {
      more.emplace_back(parameter.name, ValueOf(parameter, draw));
      call.arguments.push_back(more.back());
    }
  }
  if (!more.empty()) {
    const bool asks = text.ends_with('?');
    if (asks || text.ends_with('.')) text.pop_back();
    absl::StrAppend(&text, draw.Chance(0.5) ? " with " : ", ", ArgumentText(more, draw),
                    asks ? "?" : "");
  }
  *request = text;
  return call;
}

void ToolScene::AddRequest(ToolRequest kind, bool two, Draw& draw,
                           Conversation& conversation) const {
  Message answer{.role = Role::kAssistant};
  std::vector<size_t> order(tools_.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  draw.Shuffle(order);
  const size_t count = two && tools_.size() > 1 ? 2 : 1;
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    std::string request;
    if (kind == ToolRequest::kNamed) {
      answer.calls.push_back(NamedCall(order[i], draw, &request));
    } else {
      answer.calls.push_back(NeededCall(order[i], draw, &request));
      const Tool& tool = tools_[order[i]];
      absl::StrAppend(&answer.reasoning, i > 0 ? "\n" : "", tool.description, "\n", tool.name);
    }
    absl::StrAppend(&text, i > 0 ? draw.Of({" Then: ", " And: ", "\n"}) : "", request);
  }
  const bool is_casual = kind == ToolRequest::kNeeded && count == 1 && draw.Chance(0.3);
  if (is_casual && (text.back() == '?' || text.back() == '.')) text.pop_back();
  if (is_casual && draw.Chance(0.5)) text[0] = static_cast<char>(std::tolower(text[0]));
  conversation.User(std::move(text));
  conversation.messages.push_back(std::move(answer));
}

void ToolScene::AddResults(Draw& draw, Conversation& conversation) const {
  const size_t count = conversation.messages.back().calls.size();
  std::string report;
  for (size_t i = 0; i < count; ++i) {
    std::string result, sentence;
    const size_t manner = draw.Below(10);
    if (manner < 6) {
      const size_t members = draw.Between(1, 3);
      for (size_t k = 0; k < members; ++k) {
        const std::string key = draw.Chance(0.3) ? Key(draw) : draw.AnyWord();
        const bool is_number = draw.Chance(0.4);
        const std::string value = is_number ? draw.Digits(draw.Between(1, 3)) : TextValue(draw);
        const std::string quote = is_number ? "" : "\"";
        absl::StrAppend(&result, k == 0 ? "{" : ", ", "\"", key, "\": ", quote, value, quote);
        absl::StrAppend(&sentence, k == 0 ? "The " : " and the ", key, " is ", value);
      }
      result += "}";
      sentence += ".";
    } else if (manner < 9) {
      result = draw.Chance(0.5)
                   ? TextValue(draw)
                   : absl::StrCat(draw.Digits(draw.Between(1, 3)), " ", draw.AnyWord());
      sentence = absl::StrCat("The result is ", result, ".");
    } else {
      const std::string reason = absl::StrCat(draw.AnyWord(), " ", draw.AnyWord());
      result = absl::StrCat("{\"error\": \"", reason, "\"}");
      sentence = absl::StrCat("The tool failed: ", reason, ".");
    }
    conversation.messages.push_back({.role = Role::kTool, .content = result});
    absl::StrAppend(&report, i > 0 ? " " : "", sentence);
  }
  conversation.Assistant(report);
}

void ToolScene::AddMisfit(Draw& draw, Conversation& conversation) const {
  const std::string noun = draw.Word(2, 3);
  conversation.User(absl::StrReplaceAll(
      draw.Of({"What is the # of $?", "Tell me the # of $.", "Show me the # in $.",
               "Find the # for $."}),
      {{"#", noun}, {"$", draw.Chance(0.5) ? draw.Of(Cities()) : TextValue(draw)}}));
  conversation.Assistant("None of my tools can do that.");
}

void AddRequestWithoutTools(Draw& draw, Conversation& conversation) {
  while (true) {
    const EverydayTool& tool = EverydayTools()[draw.Below(EverydayTools().size())];
    if (tool.slot == SlotKind::kWord) continue;  // "Define x" has answers of its own
    const std::string text = draw.Of(tool.requests);
    conversation.User(Casual(absl::StrReplaceAll(text, {{"$", SlotValue(tool.slot, draw)}}), draw));
    conversation.Assistant("I have no tool for that. Put one into the request, and I can call it.");
    return;
  }
}

}  // namespace tessera::trainer
