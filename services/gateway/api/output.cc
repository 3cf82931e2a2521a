#include "services/gateway/api/output.h"

#include <utility>

namespace tessera::gateway {

void AppendEvent(OutputEvent event, std::vector<OutputEvent>& events) {
  const bool is_text = event.kind != OutputEvent::Kind::kToolCall;
  if (is_text && event.text.empty()) return;
  if (is_text && !events.empty() && events.back().kind == event.kind &&
      events.back().call_index == event.call_index) {
    events.back().text += event.text;
    return;
  }
  events.push_back(std::move(event));
}

void ChoiceOutput::Append(const ChoiceStep& step) {
  bool has_content = false;
  for (const OutputEvent& event : step.events) {
    has_content = has_content || event.kind == OutputEvent::Kind::kContent;
    AppendEvent(event, events);
  }
  if (has_content)
    content_logprobs.insert(content_logprobs.end(), step.logprobs.begin(), step.logprobs.end());
  logprobs.insert(logprobs.end(), step.logprobs.begin(), step.logprobs.end());
  token_ids.insert(token_ids.end(), step.token_ids.begin(), step.token_ids.end());
  routed_experts.insert(routed_experts.end(), step.routed_experts.begin(),
                        step.routed_experts.end());
}

std::string_view NameOf(FinishReason reason) {
  constexpr std::array<std::string_view, 4> kNames = {"stop", "length", "tool_calls",
                                                      "content_filter"};
  return kNames[static_cast<size_t>(reason)];
}

}  // namespace tessera::gateway
