#pragma once

// Conversations as data, and the text that the chat template of deploy/models/tessera-demo makes of
// them: a test holds Render against the template itself, byte by byte.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tessera::trainer {

struct ToolParameter {
  std::string name;
  std::string type = "string";  // or integer, number, boolean
  std::string description;      // empty: left out of the schema
  bool required = true;
  std::vector<std::string> choices;  // "enum"; empty: left out
};

struct Tool {
  std::string name;
  std::string description;
  std::vector<ToolParameter> parameters;
};

struct ToolCall {
  std::string name;
  // Key and value as the call writes them; the type of a value is its parameter's.
  std::vector<std::pair<std::string, std::string>> arguments;
};

enum class Role : uint8_t { kSystem, kUser, kAssistant, kTool };

struct Message {
  Role role = Role::kUser;
  std::string content;
  std::string reasoning;        // kAssistant; empty: none
  std::vector<ToolCall> calls;  // kAssistant
  bool has_loss = true;         // kAssistant: the model learns to write it
};

// The texts need no escapes in JSON: no quotes, backslashes or control characters in tools.
struct Conversation {
  std::string skill;
  std::vector<Tool> tools;
  std::vector<Message> messages;  // a system message only as the first

  void User(std::string content) { messages.push_back({.content = std::move(content)}); }
  void Assistant(std::string content, std::string reasoning = "") {
    messages.push_back({.role = Role::kAssistant,
                        .content = std::move(content),
                        .reasoning = std::move(reasoning)});
  }
};

// A part of the text. Parts meet where a tokenizer cuts anyway (behind "assistant\n", behind
// <|im_end|>), so they can be encoded one by one.
struct TextPart {
  std::string text;
  bool has_loss = false;
};

// All of it, as the template renders it without add_generation_prompt: an assistant's text has loss
// up to its <|im_end|>.
std::vector<TextPart> Render(const Conversation& conversation);

// The same in one string.
std::string RenderText(const Conversation& conversation);

// The line of one tool inside <tools>.
std::string ToolLine(const Tool& tool);

}  // namespace tessera::trainer
