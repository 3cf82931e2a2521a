#include "services/trainer/corpus/conversation.h"

#include "absl/strings/str_cat.h"

namespace tessera::trainer {
namespace {

std::string ParameterJson(const ToolParameter& parameter) {
  std::string json = absl::StrCat("\"", parameter.name, "\": {\"type\": \"", parameter.type, "\"");
  if (!parameter.description.empty()) {
    absl::StrAppend(&json, ", \"description\": \"", parameter.description, "\"");
  }
  for (size_t i = 0; i < parameter.choices.size(); ++i) {
    absl::StrAppend(&json, i == 0 ? ", \"enum\": [\"" : ", \"", parameter.choices[i], "\"");
  }
  return json + (parameter.choices.empty() ? "}" : "]}");
}

std::string CallText(const ToolCall& call) {
  std::string text = absl::StrCat("<tool_call>\n<function=", call.name, ">\n");
  for (const auto& [key, value] : call.arguments) {
    absl::StrAppend(&text, "<parameter=", key, ">\n", value, "\n</parameter>\n");
  }
  return text + "</function>\n</tool_call>";
}

std::string AssistantText(const Message& message) {
  std::string text;
  if (!message.reasoning.empty()) {
    absl::StrAppend(&text, "<think>\n", message.reasoning, "\n</think>\n\n");
  }
  text += message.content;
  bool first = message.content.empty();
  for (const ToolCall& call : message.calls) {
    absl::StrAppend(&text, first ? "" : "\n", CallText(call));
    first = false;
  }
  return text + "<|im_end|>";
}

std::string SystemText(const Conversation& conversation) {
  std::string text;
  const auto& messages = conversation.messages;
  const bool has_system = !messages.empty() && messages[0].role == Role::kSystem;
  if (!has_system && conversation.tools.empty()) return text;
  text = "<|im_start|>system\n";
  if (has_system) text += messages[0].content;
  if (!conversation.tools.empty()) {
    absl::StrAppend(&text, has_system ? "\n\n" : "", "# Tools\n\n<tools>\n");
    for (const Tool& tool : conversation.tools) absl::StrAppend(&text, ToolLine(tool), "\n");
    text += "</tools>";
  }
  return text + "<|im_end|>\n";
}

// Results of tools that follow each other are one turn of the user.
std::string ToolTurn(const std::vector<Message>& messages, size_t* at) {
  std::string text = "<|im_start|>user";
  for (; *at < messages.size() && messages[*at].role == Role::kTool; ++*at) {
    absl::StrAppend(&text, "\n<tool_response>\n", messages[*at].content, "\n</tool_response>");
  }
  return text + "<|im_end|>\n";
}

}  // namespace

std::string ToolLine(const Tool& tool) {
  std::string line = absl::StrCat("{\"description\": \"", tool.description, "\", \"name\": \"",
                                  tool.name, "\", \"parameters\": {");
  std::string required;
  for (size_t i = 0; i < tool.parameters.size(); ++i) {
    const ToolParameter& parameter = tool.parameters[i];
    absl::StrAppend(&line, i == 0 ? "" : ", ", ParameterJson(parameter));
    if (parameter.required) {
      absl::StrAppend(&required, required.empty() ? "" : ", ", "\"", parameter.name, "\"");
    }
  }
  return absl::StrCat(line, "}, \"required\": [", required, "]}");
}

std::vector<TextPart> Render(const Conversation& conversation) {
  std::vector<TextPart> parts;
  std::string plain = SystemText(conversation);
  const auto& messages = conversation.messages;
  for (size_t i = !messages.empty() && messages[0].role == Role::kSystem ? 1 : 0;
       i < messages.size();) {
    const Message& message = messages[i];
    if (message.role == Role::kTool) {
      plain += ToolTurn(messages, &i);
      continue;
    }
    ++i;
    if (message.role == Role::kUser) {
      absl::StrAppend(&plain, "<|im_start|>user\n", message.content, "<|im_end|>\n");
      continue;
    }
    plain += "<|im_start|>assistant\n";
    parts.push_back({.text = std::move(plain)});
    parts.push_back({.text = AssistantText(message), .has_loss = message.has_loss});
    plain = "\n";
  }
  parts.push_back({.text = std::move(plain)});
  return parts;
}

std::string RenderText(const Conversation& conversation) {
  std::string text;
  for (const TextPart& part : Render(conversation)) text += part.text;
  return text;
}

}  // namespace tessera::trainer
