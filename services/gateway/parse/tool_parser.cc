#include "services/gateway/parse/tool_parser.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "services/gateway/parse/tagged_parser.h"

namespace tessera::gateway {

absl::StatusOr<ToolFormat> ToolFormatFromName(std::string_view name) {
  if (name == "none") return ToolFormat::kNone;
  if (name == "hermes") return ToolFormat::kHermes;
  if (name == "qwen3_coder") return ToolFormat::kQwen3Coder;
  return absl::InvalidArgumentError(
      absl::StrCat("tool parser '", std::string(name), "'; there are none, hermes, qwen3_coder"));
}

ToolFormat DetectToolFormat(std::string_view chat_template) {
  if (chat_template.find("<function=") != std::string_view::npos) return ToolFormat::kQwen3Coder;
  if (chat_template.find("<tool_call>") != std::string_view::npos) return ToolFormat::kHermes;
  return ToolFormat::kNone;
}

std::string MakeCallId(uint64_t random_high, uint64_t random_low) {
  const std::string digits = absl::StrCat(absl::Hex(random_high, absl::kZeroPad16),
                                          absl::Hex(random_low, absl::kZeroPad16));
  return "call_" + digits.substr(digits.size() - 24);
}

std::unique_ptr<ToolParser> MakeToolParser(ToolFormat format, ToolParserOptions options) {
  switch (format) {
    case ToolFormat::kHermes:
      return MakeHermesParser(std::move(options));
    case ToolFormat::kQwen3Coder:
      return MakeQwen3CoderParser(std::move(options));
    case ToolFormat::kNone:
      break;
  }
  return nullptr;
}

}  // namespace tessera::gateway
