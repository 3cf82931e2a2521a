#pragma once

// What a choice of a request says, piece by piece: made by the parsers, written by the replies.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "common/base/ids.h"

namespace tessera::gateway {

// One piece, in the order of the text. Arguments belong to the call that was begun last.
struct OutputEvent {
  enum class Kind : uint8_t {
    kReasoning,  // text
    kContent,    // text
    kToolCall,   // a call begins: call_id, name
    kArguments,  // text: more of the JSON of its arguments
  };

  Kind kind = Kind::kContent;
  std::string text;
  uint32_t call_index = 0;  // of the call among the choice's calls
  std::string call_id;      // "call_" and 24 hexadecimal digits
  std::string name;         // of the function

  friend bool operator==(const OutputEvent&, const OutputEvent&) = default;
};

// Puts `event` at the end of `events`, into the last one if both are text of one kind and call.
void AppendEvent(OutputEvent event, std::vector<OutputEvent>& events);

struct ScoredToken {
  TokenId id = 0;
  std::string bytes;  // of the token; not always whole characters
  float logprob = 0;
  uint32_t rank = 0;  // 1: the most likely; 0: not known

  friend bool operator==(const ScoredToken&, const ScoredToken&) = default;
};

struct TokenLogprob {
  ScoredToken token;
  std::vector<ScoredToken> top;  // most likely first

  friend bool operator==(const TokenLogprob&, const TokenLogprob&) = default;
};

// Of the prompt, if the request asked for any of it.
struct PromptReport {
  std::vector<TokenId> token_ids;                     // return_token_ids
  std::vector<std::optional<TokenLogprob>> logprobs;  // prompt_logprobs, echo; the first is none
  std::string text;                                   // echo
  std::string first_token;                            // bytes of the one without logprob
};

// What some tokens add to a choice. Spans are empty where the request did not ask.
struct ChoiceStep {
  std::span<const OutputEvent> events;
  std::span<const TokenLogprob> logprobs;
  std::span<const TokenId> token_ids;
  std::span<const std::vector<uint16_t>> routed_experts;  // per token [moe_layer_count, top_k]
};

enum class FinishReason : uint8_t { kStop, kLength, kToolCalls, kContentFilter };
// "stop", "length", "tool_calls", "content_filter".
std::string_view NameOf(FinishReason reason);

struct ChoiceEnd {
  FinishReason reason = FinishReason::kStop;
  // What stopped it: a string of `stop`, an id of `stop_token_ids`, nothing for end-of-sequence.
  std::variant<std::monostate, std::string, TokenId> stopped_by;
  bool degraded = false;  // some tokens were computed with experts missing

  friend bool operator==(const ChoiceEnd&, const ChoiceEnd&) = default;
};

// How long the parts of a request took; of several choices the longest. Zero: not known.
struct Timings {
  absl::Duration queue;        // the gateway's and the router's, until the prompt was begun
  absl::Duration prefill;      // of the prompt
  absl::Duration first_token;  // from the request's arrival
  absl::Duration decode;       // of the tokens behind the first

  friend bool operator==(const Timings&, const Timings&) = default;
};

struct Usage {
  uint32_t prompt_tokens = 0;  // of all prompts of the request
  uint32_t cached_tokens = 0;  // of those, found in the prefix cache
  uint32_t completion_tokens = 0;
  uint32_t reasoning_tokens = 0;  // of those
  Timings timings;                // complete at the end only

  friend bool operator==(const Usage&, const Usage&) = default;
};

// All of a choice, for a reply in one piece.
struct ChoiceOutput {
  PromptReport prompt;
  std::vector<OutputEvent> events;
  std::vector<TokenLogprob> logprobs;
  std::vector<TokenLogprob> content_logprobs;  // those of steps that added content
  std::vector<TokenId> token_ids;
  std::vector<std::vector<uint16_t>> routed_experts;
  ChoiceEnd end;

  void Append(const ChoiceStep& step);
};

}  // namespace tessera::gateway
