#pragma once

// What a gateway asks of a router and what comes back: protos/tessera/v1/generation.proto as plain
// structs. The comments of the fields stand there.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/tracing/trace_context.h"

namespace tessera::v1 {
class GenerateEvent;
class GenerateRequest;
}  // namespace tessera::v1

namespace tessera::wire {

struct SamplingOptions {
  float temperature = 1.0f;  // 0: greedy
  uint32_t top_k = 0;        // 0: all
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;  // [kRepetitionPenaltyMin, kRepetitionPenaltyMax]
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  std::optional<uint64_t> seed;
  std::vector<std::pair<TokenId, float>> bias;  // at most kBiasMax
  std::vector<TokenId> allowed;                 // not empty: only these are sampled

  friend bool operator==(const SamplingOptions&, const SamplingOptions&) = default;
};

struct GenerationParams {
  std::string request_id;
  std::vector<TokenId> prompt;
  std::vector<TokenId> produced;  // of an earlier life of the request
  SamplingOptions sampling;
  uint32_t tokens_max = 16;
  uint32_t tokens_min = 0;
  std::vector<TokenId> stop_tokens;  // at most kStopTokensMax
  bool ignore_eos = false;
  std::optional<absl::Duration> deadline;  // time left, to the millisecond
  int32_t priority = 0;
  std::string cache_salt;
  bool no_prefix_cache = false;
  std::optional<uint32_t> logprobs;
  bool want_prompt_logprobs = false;
  bool want_routed_experts = false;
  bool degraded_allowed = false;
  std::optional<TraceContext> trace;  // of the sender's span

  friend bool operator==(const GenerationParams&, const GenerationParams&) = default;
};
inline constexpr size_t kBiasMax = 1024;
inline constexpr size_t kStopTokensMax = 64;
inline constexpr double kRepetitionPenaltyMin = 1e-3;
inline constexpr double kRepetitionPenaltyMax = 1e3;
inline constexpr size_t kRequestIdBytesMax = 256;

struct TokenScore {
  TokenId token = 0;
  float logprob = 0;

  friend bool operator==(const TokenScore&, const TokenScore&) = default;
};

struct TokenOutput {
  TokenId token = 0;
  std::optional<float> logprob;
  uint32_t rank = 0;
  std::vector<TokenScore> top;
  std::vector<uint16_t> routed_experts;  // [moe_layer_count, top_k]
  bool degraded = false;

  friend bool operator==(const TokenOutput&, const TokenOutput&) = default;
};

struct StartedEvent {
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;
  std::vector<TokenOutput> prompt;

  friend bool operator==(const StartedEvent&, const StartedEvent&) = default;
};

struct TokensEvent {
  uint32_t first_index = 0;
  std::vector<TokenOutput> tokens;

  friend bool operator==(const TokensEvent&, const TokensEvent&) = default;
};

enum class FinishKind : uint8_t { kStop = 1, kLength = 2, kCancelled = 3, kError = 4 };

struct FinishedEvent {
  FinishKind kind = FinishKind::kStop;
  uint32_t prompt_tokens = 0;
  uint32_t produced_tokens = 0;
  uint32_t cached_tokens = 0;
  bool degraded = false;
  absl::Status error;  // not OK if and only if kind is kError
  absl::Duration retry_after;
  absl::Duration queued;  // the three to the microsecond
  absl::Duration prefill;
  absl::Duration decode;

  friend bool operator==(const FinishedEvent&, const FinishedEvent&) = default;
};

struct TokenEvent {
  std::string request_id;
  std::variant<StartedEvent, TokensEvent, FinishedEvent> event;

  friend bool operator==(const TokenEvent&, const TokenEvent&) = default;
};

// kInvalidArgument naming the field, its value and what it may be. Token ids are checked to be
// >= 0; the vocabulary and the context are the router's to check.
absl::StatusOr<GenerationParams> ToGenerationParams(const v1::GenerateRequest& request);
void ToProto(const GenerationParams& params, v1::GenerateRequest& request);

// kInternal if the router sent an event that means nothing; TokensEvents have tokens.
absl::StatusOr<TokenEvent> ToTokenEvent(const v1::GenerateEvent& event);
void ToProto(const TokenEvent& event, v1::GenerateEvent& message);

}  // namespace tessera::wire
