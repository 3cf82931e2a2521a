#pragma once

// Pieces that replies of several dialects share. For the sources of this folder only.

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/json/json_writer.h"
#include "services/gateway/api/generation_request.h"
#include "services/gateway/api/output.h"
#include "services/gateway/api/reply.h"

namespace tessera::gateway {

// A log probability as replies show it: at least -9999, as JSON has no infinity, at most 0, never
// NaN.
float ShownLogprob(float value);
// {"prompt_tokens", "completion_tokens", "total_tokens", "..._details"}
void WriteUsage(const Usage& usage, JsonWriter& json);
// {"content": [{token, logprob, bytes, top_logprobs}], "refusal": null}
void WriteChatLogprobs(std::span<const TokenLogprob> logprobs, JsonWriter& json);
// [{token, logprob, bytes, top_logprobs}]
void WriteTokenLogprobs(std::span<const TokenLogprob> logprobs, JsonWriter& json);
// [null, {"<id>": {"logprob", "rank", "decoded_token"}}]
void WritePromptLogprobs(std::span<const std::optional<TokenLogprob>> logprobs, JsonWriter& json);
void WriteTokenIds(std::span<const TokenId> ids, JsonWriter& json);
// Per token an array of layers, each an array of experts.
void WriteRoutedExperts(std::span<const std::vector<uint16_t>> routed, uint32_t experts_per_token,
                        JsonWriter& json);
// Keys "stop_reason" and "degraded" of a choice, where they say something.
void WriteEndExtras(const ChoiceEnd& end, JsonWriter& json);
// Of a whole choice: "finish_reason", WriteEndExtras, "token_ids" and "routed_experts" where asked
// for.
void WriteChoiceTail(const GenerationRequest& request, const ReplyHead& head,
                     const ChoiceOutput& choice, JsonWriter& json);
// "prompt_token_ids" and "prompt_logprobs", where asked for.
void WritePromptExtras(const GenerationRequest& request, const PromptReport& prompt,
                       JsonWriter& json);
// "usage" and, where there was a first token, "timings" in milliseconds: {"queue_ms", "prefill_ms",
// "ttft_ms", "decode_ms"}, of which those are left out that are not known.
void WriteReplyTail(const Usage& usage, JsonWriter& json);

// "id", "object", "created", "model", "system_fingerprint" of an object that is open.
void WriteHead(const ReplyHead& head, std::string_view object, JsonWriter& json);

// One stretch of a choice's output of one kind: what Anthropic calls a block, OpenAI an item.
struct OutputBlock {
  OutputEvent::Kind kind = OutputEvent::Kind::kContent;  // kReasoning, kContent or kToolCall
  std::string text;                                      // or the arguments
  std::string call_id;
  std::string name;
};
// Whether `event` goes on with a block of `kind`.
bool Continues(OutputEvent::Kind kind, const OutputEvent& event);
// Without reasoning if that is not to be shown.
std::vector<OutputBlock> BlocksOf(std::span<const OutputEvent> events, bool show_reasoning);

std::unique_ptr<StreamWriter> MakeChatStream(const GenerationRequest& request,
                                             const ReplyHead& head);
std::unique_ptr<StreamWriter> MakeCompletionStream(const GenerationRequest& request,
                                                   const ReplyHead& head);
std::unique_ptr<StreamWriter> MakeMessagesStream(const GenerationRequest& request,
                                                 const ReplyHead& head);
std::unique_ptr<StreamWriter> MakeResponsesStream(const GenerationRequest& request,
                                                  const ReplyHead& head);
std::string WriteChatReply(const GenerationRequest& request, const ReplyHead& head,
                           std::span<const ChoiceOutput> choices, const Usage& usage);
std::string WriteCompletionReply(const GenerationRequest& request, const ReplyHead& head,
                                 std::span<const ChoiceOutput> choices, const Usage& usage);
std::string WriteMessagesReply(const GenerationRequest& request, const ReplyHead& head,
                               const ChoiceOutput& choice, const Usage& usage);
std::string WriteResponsesReply(const GenerationRequest& request, const ReplyHead& head,
                                const ChoiceOutput& choice, const Usage& usage);

}  // namespace tessera::gateway
