#include "services/gateway/api/reply_parts.h"

#include <algorithm>
#include <array>

namespace tessera::gateway {
namespace {

void WriteScored(const ScoredToken& token, JsonWriter& json) {
  json.Key("token").String(token.bytes).Key("logprob").Number(ShownLogprob(token.logprob));
  json.Key("bytes").Open('[');
  for (const char byte : token.bytes) json.Integer(static_cast<unsigned char>(byte));
  json.Close(']');
}

void WriteRanked(const ScoredToken& token, JsonWriter& json) {
  json.Key(std::to_string(token.id)).Open('{');
  json.Key("logprob").Number(ShownLogprob(token.logprob));
  if (token.rank > 0) json.Key("rank").Integer(token.rank);
  json.Key("decoded_token").String(token.bytes).Close('}');
}

// Key "timings" of an object that is open, in milliseconds: {"queue_ms", "prefill_ms", "ttft_ms",
// "decode_ms"}; what is not known is left out, and so is the whole without a first token.
void WriteTimings(const Timings& timings, JsonWriter& json) {
  if (timings.first_token == absl::ZeroDuration()) return;
  json.Key("timings").Open('{');
  const auto write = [&json](std::string_view key, absl::Duration duration) {
    if (duration == absl::ZeroDuration()) return;
    // To the microsecond.
    json.Key(key).Number(static_cast<float>(absl::ToInt64Microseconds(duration)) / 1000);
  };
  write("queue_ms", timings.queue);
  write("prefill_ms", timings.prefill);
  write("ttft_ms", timings.first_token);
  write("decode_ms", timings.decode);
  json.Close('}');
}

}  // namespace

float ShownLogprob(float value) {
  constexpr float kFloor = -9999.0f;
  return value >= kFloor ? std::min(value, 0.0f) : kFloor;  // the floor for NaN too
}

void WriteUsage(const Usage& usage, JsonWriter& json) {
  json.Open('{').Key("prompt_tokens").Integer(usage.prompt_tokens);
  json.Key("completion_tokens").Integer(usage.completion_tokens);
  json.Key("total_tokens").Integer(int64_t{usage.prompt_tokens} + usage.completion_tokens);
  json.Key("prompt_tokens_details").Open('{');
  json.Key("cached_tokens").Integer(usage.cached_tokens).Close('}');
  json.Key("completion_tokens_details").Open('{');
  json.Key("reasoning_tokens").Integer(usage.reasoning_tokens).Close('}').Close('}');
}

void WriteTokenLogprobs(std::span<const TokenLogprob> logprobs, JsonWriter& json) {
  json.Open('[');
  for (const TokenLogprob& entry : logprobs) {
    json.Open('{');
    WriteScored(entry.token, json);
    json.Key("top_logprobs").Open('[');
    for (const ScoredToken& token : entry.top) {
      json.Open('{');
      WriteScored(token, json);
      json.Close('}');
    }
    json.Close(']').Close('}');
  }
  json.Close(']');
}

void WriteChatLogprobs(std::span<const TokenLogprob> logprobs, JsonWriter& json) {
  json.Open('{').Key("content");
  WriteTokenLogprobs(logprobs, json);
  json.Key("refusal").Null().Close('}');
}

void WritePromptLogprobs(std::span<const std::optional<TokenLogprob>> logprobs, JsonWriter& json) {
  json.Open('[');
  for (const std::optional<TokenLogprob>& entry : logprobs) {
    if (!entry.has_value()) {
      json.Null();
      continue;
    }
    json.Open('{');
    WriteRanked(entry->token, json);
    for (const ScoredToken& token : entry->top) {
      if (token.id != entry->token.id) WriteRanked(token, json);
    }
    json.Close('}');
  }
  json.Close(']');
}

void WriteTokenIds(std::span<const TokenId> ids, JsonWriter& json) {
  json.Open('[');
  for (const TokenId id : ids) json.Integer(id);
  json.Close(']');
}

void WriteRoutedExperts(std::span<const std::vector<uint16_t>> routed, uint32_t experts_per_token,
                        JsonWriter& json) {
  const size_t columns = std::max<size_t>(experts_per_token, 1);
  json.Open('[');
  for (const std::vector<uint16_t>& token : routed) {
    json.Open('[');
    for (size_t at = 0; at < token.size(); at += columns) {
      json.Open('[');
      for (size_t i = at; i < std::min(at + columns, token.size()); ++i) json.Integer(token[i]);
      json.Close(']');
    }
    json.Close(']');
  }
  json.Close(']');
}

void WriteEndExtras(const ChoiceEnd& end, JsonWriter& json) {
  if (const auto* text = std::get_if<std::string>(&end.stopped_by)) {
    json.Key("stop_reason").String(*text);
  } else if (const auto* id = std::get_if<TokenId>(&end.stopped_by)) {
    json.Key("stop_reason").Integer(*id);
  }
  if (end.degraded) json.Key("degraded").Bool(true);
}

void WriteChoiceTail(const GenerationRequest& request, const ReplyHead& head,
                     const ChoiceOutput& choice, JsonWriter& json) {
  json.Key("finish_reason").String(NameOf(choice.end.reason));
  WriteEndExtras(choice.end, json);
  if (request.return_token_ids) {
    json.Key("token_ids");
    WriteTokenIds(choice.token_ids, json);
  }
  if (request.return_routed_experts) {
    json.Key("routed_experts");
    WriteRoutedExperts(choice.routed_experts, head.experts_per_token, json);
  }
}

void WritePromptExtras(const GenerationRequest& request, const PromptReport& prompt,
                       JsonWriter& json) {
  if (request.return_token_ids) {
    json.Key("prompt_token_ids");
    WriteTokenIds(prompt.token_ids, json);
  }
  if (request.prompt_logprobs.has_value()) {
    json.Key("prompt_logprobs");
    WritePromptLogprobs(prompt.logprobs, json);
  }
}

void WriteReplyTail(const Usage& usage, JsonWriter& json) {
  json.Key("usage");
  WriteUsage(usage, json);
  WriteTimings(usage.timings, json);
}

void WriteHead(const ReplyHead& head, std::string_view object, JsonWriter& json) {
  json.Key("id").String(head.id).Key("object").String(object);
  json.Key("created").Integer(head.created_unix_s).Key("model").String(head.model);
  if (!head.system_fingerprint.empty())
    json.Key("system_fingerprint").String(head.system_fingerprint);
}

bool Continues(OutputEvent::Kind kind, const OutputEvent& event) {
  if (event.kind == OutputEvent::Kind::kToolCall) return false;
  if (event.kind == OutputEvent::Kind::kArguments) return kind == OutputEvent::Kind::kToolCall;
  return event.kind == kind;
}

std::vector<OutputBlock> BlocksOf(std::span<const OutputEvent> events, bool show_reasoning) {
  std::vector<OutputBlock> blocks;
  for (const OutputEvent& event : events) {
    if (event.kind == OutputEvent::Kind::kReasoning && !show_reasoning) continue;
    if (blocks.empty() || !Continues(blocks.back().kind, event)) {
      // Arguments without a call before them: there are none from our parsers.
      if (event.kind == OutputEvent::Kind::kArguments) continue;
      blocks.push_back({.kind = event.kind, .call_id = event.call_id, .name = event.name});
    }
    blocks.back().text += event.text;
  }
  return blocks;
}

}  // namespace tessera::gateway
