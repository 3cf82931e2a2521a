#include "services/cli/chat/chat_stream.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/json/json.h"

namespace tessera::cli {
namespace {

constexpr size_t kLineBytesMax = size_t{4} << 20;
constexpr size_t kCallsMax = 1024;

// The string under `key`; empty if there is none.
std::string_view TextOf(const JsonValue& object, std::string_view key) {
  const std::optional<JsonValue> value = object.Find(key);
  if (!value.has_value() || !value->is_string()) return {};
  return *value->AsString();
}

int64_t CountOf(const JsonValue& object, std::string_view key) {
  const std::optional<JsonValue> value = object.Find(key);
  return value.has_value() ? value->AsInteger().value_or(0) : 0;
}

absl::Status StatusOf(const JsonValue& error) {
  const std::string message(TextOf(error, "message"));
  const std::string_view type = TextOf(error, "type");
  if (type == "invalid_request_error") return absl::InvalidArgumentError(message);
  if (type == "rate_limit_error") return absl::ResourceExhaustedError(message);
  if (type == "authentication_error") return absl::UnauthenticatedError(message);
  if (type == "permission_error") return absl::PermissionDeniedError(message);
  if (type == "timeout_error") return absl::DeadlineExceededError(message);
  return absl::UnavailableError(message);
}

void AddCalls(const JsonValue& delta, std::vector<ChatToolCall>& calls) {
  const std::optional<JsonValue> list = delta.Find("tool_calls");
  if (!list.has_value()) return;
  for (const JsonValue part : list->elements()) {
    const auto index = static_cast<size_t>(CountOf(part, "index"));
    if (index >= kCallsMax) continue;
    if (index >= calls.size()) calls.resize(index + 1);
    ChatToolCall& call = calls[index];
    call.id += TextOf(part, "id");
    if (const std::optional<JsonValue> function = part.Find("function")) {
      call.name += TextOf(*function, "name");
      call.arguments += TextOf(*function, "arguments");
    }
  }
}

}  // namespace

absl::Status ChatStream::Push(std::string_view bytes) {
  for (;;) {
    const size_t end = bytes.find('\n');
    line_ += bytes.substr(0, end);
    if (line_.size() > kLineBytesMax) {
      return absl::DataLossError("a line of the event stream has no end");
    }
    if (end == std::string_view::npos) return absl::OkStatus();
    bytes.remove_prefix(end + 1);
    if (!line_.empty() && line_.back() == '\r') line_.pop_back();
    TESSERA_RETURN_IF_ERROR(TakeLine(line_));
    line_.clear();
  }
}

absl::Status ChatStream::TakeLine(std::string_view line) {
  constexpr std::string_view kData = "data:";
  if (line.empty() || line.front() == ':') return absl::OkStatus();  // end of an event; a comment
  if (!line.starts_with(kData)) return absl::OkStatus();             // a field we do not need
  line.remove_prefix(kData.size());
  if (line.starts_with(' ')) line.remove_prefix(1);
  if (line == "[DONE]") {
    is_done_ = true;
    return absl::OkStatus();
  }
  const absl::StatusOr<JsonDocument> event = JsonDocument::Parse(line);
  if (!event.ok()) {
    return absl::DataLossError(
        absl::StrCat("an event of the stream is no JSON: ", event.status().message()));
  }
  const JsonValue root = event->root();
  if (const auto error = root.Find("error")) return StatusOf(*error);
  if (const auto usage = root.Find("usage"); usage.has_value() && usage->is_object()) {
    answer_.prompt_tokens = CountOf(*usage, "prompt_tokens");
    answer_.completion_tokens = CountOf(*usage, "completion_tokens");
  }
  const auto choices = root.Find("choices");
  if (!choices.has_value() || choices->size() == 0) return absl::OkStatus();
  const JsonValue choice = choices->at(0);
  if (const std::string_view reason = TextOf(choice, "finish_reason"); !reason.empty()) {
    answer_.finish_reason = std::string(reason);
  }
  const auto delta = choice.Find("delta");
  if (!delta.has_value()) return absl::OkStatus();
  std::string_view reasoning = TextOf(*delta, "reasoning_content");
  if (reasoning.empty()) reasoning = TextOf(*delta, "reasoning");
  if (!reasoning.empty()) events_.reasoning(reasoning);
  if (const std::string_view content = TextOf(*delta, "content"); !content.empty()) {
    answer_.content += content;
    events_.content(content);
  }
  AddCalls(*delta, answer_.calls);
  return absl::OkStatus();
}

absl::Status ErrorOf(int http_status, std::string_view body) {
  const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(body);
  if (document.ok()) {
    if (const auto error = document->root().Find("error")) return StatusOf(*error);
  }
  return absl::UnavailableError(
      absl::StrCat("the server answers ", http_status, ": ", std::string(body.substr(0, 200))));
}

}  // namespace tessera::cli
