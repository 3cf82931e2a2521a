#pragma once

// Calls of tools in the text of a model.
//
//   hermes       <tool_call>\n{"name": "f", "arguments": {...}}\n</tool_call>
//   qwen3_coder
//   <tool_call>\n<function=f>\n<parameter=p>\nVALUE\n</parameter>\n</function>\n</tool_call>
//
// White space around calls belongs to them (64 bytes on each side at most). What
// begins like a call and is none is content, as it stood; a call that breaks after its name was
// told keeps the arguments it has.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "services/gateway/api/generation_request.h"
#include "services/gateway/api/output.h"

namespace tessera::gateway {

enum class ToolFormat : uint8_t { kNone, kHermes, kQwen3Coder };

// "none", "hermes", "qwen3_coder"; kInvalidArgument otherwise.
absl::StatusOr<ToolFormat> ToolFormatFromName(std::string_view name);
// From the source of the chat template: "<function=" is qwen3_coder, "<tool_call>" else is hermes.
ToolFormat DetectToolFormat(std::string_view chat_template);

struct ToolParserOptions {
  std::vector<ToolDefinition> tools;          // schemas give the types of qwen3_coder's arguments
  bool parallel = true;                       // false: calls after the first are dropped
  std::function<std::string()> next_call_id;  // see MakeCallId; unique over all calls of a server
};

// "call_" and 24 hexadecimal digits of `random`.
std::string MakeCallId(uint64_t random_high, uint64_t random_low);

// Owned by one thread.
class ToolParser {
 public:
  virtual ~ToolParser() = default;
  virtual void Push(std::string_view text, std::vector<OutputEvent>& events) = 0;
  virtual void Flush(std::vector<OutputEvent>& events) = 0;
  virtual uint32_t call_count() const = 0;
  virtual uint32_t failure_count() const = 0;
};

// Null for kNone.
std::unique_ptr<ToolParser> MakeToolParser(ToolFormat format, ToolParserOptions options);

}  // namespace tessera::gateway
