#include "tests/services/gateway/api/reply_samples.h"

#include <string_view>

namespace tessera::gateway {

ChoiceOutput FullChoice() {
  using Kind = OutputEvent::Kind;
  ChoiceOutput choice;
  choice.prompt.token_ids = {5, 6};
  choice.prompt.text = "Hi";
  choice.prompt.first_token = "H";
  const ScoredToken euro = {.id = 3, .bytes = "\xE2\x82", .logprob = -0.25f, .rank = 1};
  const ScoredToken other = {.id = 4, .bytes = "x", .logprob = -1e30f, .rank = 2};
  choice.prompt.logprobs = {std::nullopt, TokenLogprob{.token = other, .top = {euro, other}}};
  choice.events = {
      {.kind = Kind::kReasoning, .text = "hm"},
      {.kind = Kind::kContent, .text = "Let me \"see\"\n"},
      {.kind = Kind::kToolCall, .call_index = 0, .call_id = "call_0", .name = "f"},
      {.kind = Kind::kArguments, .text = "{\"a\": 1}", .call_index = 0},
      {.kind = Kind::kToolCall, .call_index = 1, .call_id = "call_1", .name = "g"},
      {.kind = Kind::kArguments, .text = "{}", .call_index = 1},
  };
  choice.logprobs = {TokenLogprob{.token = euro, .top = {euro, other}}};
  choice.content_logprobs = choice.logprobs;
  choice.token_ids = {3, 4};
  choice.routed_experts = {{1, 2, 3, 4}, {5, 6, 7, 8}};
  choice.end.reason = FinishReason::kToolCalls;
  return choice;
}

GenerationRequest FullRequest(ApiDialect dialect) {
  GenerationRequest request;
  request.dialect = dialect;
  request.model = "m";
  if (dialect == ApiDialect::kCompletion) {
    request.prompt = std::vector<CompletionPrompt>{"Hi"};
    request.echo = true;
  }
  request.stream = true;
  request.include_usage = true;
  request.logprobs = 2;
  request.return_token_ids = true;
  request.return_routed_experts = true;
  return request;
}

ReplyHead SampleHead(ApiDialect dialect) {
  return {.id = MakeReplyId(dialect, 1, 2),
          .request_id = "req-of-the-headers",
          .created_unix_s = 1700000000,
          .model = "m",
          .system_fingerprint = "fp",
          .experts_per_token = 2};
}

std::string Streamed(const GenerationRequest& request, const std::vector<ChoiceOutput>& choices) {
  const auto writer = MakeStreamWriter(request, SampleHead(request.dialect));
  std::string out;
  for (uint32_t i = 0; i < choices.size(); ++i)
    writer->Begin(i, choices[i].prompt, kSampleUsage, out);
  writer->Ping(out);
  for (uint32_t i = 0; i < choices.size(); ++i) {
    bool first = true;
    for (const OutputEvent& event : choices[i].events) {
      ChoiceStep step;
      step.events = {&event, 1};
      if (first && event.kind == OutputEvent::Kind::kContent) {
        step.logprobs = choices[i].logprobs;
        step.token_ids = choices[i].token_ids;
        step.routed_experts = choices[i].routed_experts;
        first = false;
      }
      writer->Push(i, step, kSampleUsage, out);
    }
  }
  for (uint32_t i = 0; i < choices.size(); ++i)
    writer->Finish(i, choices[i].end, kSampleUsage, out);
  writer->End(kSampleUsage, out);
  return out;
}

std::vector<std::string> DataOf(const std::string& stream) {
  std::vector<std::string> data;
  std::string_view rest = stream;
  constexpr std::string_view kData = "data: ";
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    if (line.starts_with(kData) && line != "data: [DONE]")
      data.emplace_back(line.substr(kData.size()));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  return data;
}

}  // namespace tessera::gateway
