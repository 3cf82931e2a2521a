#pragma once

// The text of a choice, told apart while it comes: reasoning, content, calls of tools.
//
//   text --ReasoningParser--> reasoning | rest --ToolParser--> content | calls
//
// However the text is cut into pieces, the events are the same once neighbours of one kind are put
// together (AppendEvent does). Tags that may still become something are held back.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "services/gateway/api/generation_request.h"
#include "services/gateway/api/output.h"
#include "services/gateway/parse/reasoning_parser.h"
#include "services/gateway/parse/tool_parser.h"

namespace tessera::gateway {

struct OutputParserOptions {
  ReasoningRule reasoning = ReasoningRule::kNone;
  bool starts_in_reasoning = false;  // see StartsInReasoning
  ToolFormat tools = ToolFormat::kNone;
  ToolParserOptions tool_options;
};

// Owned by one thread.
class OutputParser {
 public:
  explicit OutputParser(OutputParserOptions options);
  ~OutputParser();

  // Appends what `text` settles to `events`.
  void Push(std::string_view text, std::vector<OutputEvent>& events);
  // The text has ended: what was held back.
  void Flush(std::vector<OutputEvent>& events);

  // Whether the text so far ends inside the reasoning: tokens pushed now count as reasoning.
  bool in_reasoning() const { return reasoning_.in_reasoning(); }
  uint32_t call_count() const;
  // Calls that could not be read and were returned as content, or ended before their end.
  uint32_t failure_count() const;

 private:
  void Add(std::string reasoning, std::string rest, std::vector<OutputEvent>& events);

  ReasoningParser reasoning_;
  const std::unique_ptr<ToolParser> tools_;  // null: everything else is content
};

}  // namespace tessera::gateway
