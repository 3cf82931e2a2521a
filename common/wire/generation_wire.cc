#include "common/wire/generation_wire.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "tessera/v1/generation.pb.h"

namespace tessera::wire {
namespace {

constexpr float kLogprobFloor = -9999.0f;  // what clients read as "impossible"; JSON has no -inf

absl::Status InRange(std::string_view name, double value, double low, double high) {
  if (value >= low && value <= high) return absl::OkStatus();  // false for NaN
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(name), " is ", value, ", expected ", low, "..", high));
}

absl::Status CheckTokens(std::string_view name,
                         const google::protobuf::RepeatedField<int32_t>& tokens) {
  for (const int32_t token : tokens) {
    if (token < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(std::string(name), " has the token ", token, ", expected 0 or more"));
    }
  }
  return absl::OkStatus();
}

absl::Status AtMost(std::string_view name, size_t count, size_t max) {
  if (count <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(name), " has ", count, " entries, expected at most ", max));
}

std::vector<TokenId> ToTokens(const google::protobuf::RepeatedField<int32_t>& tokens) {
  return {tokens.begin(), tokens.end()};
}

absl::StatusOr<SamplingOptions> ToSampling(const v1::Sampling& from) {
  SamplingOptions to;
  to.temperature = from.temperature();
  to.top_k = from.top_k();
  to.top_p = from.top_p() == 0 ? 1.0f : from.top_p();
  to.min_p = from.min_p();
  to.repetition_penalty = from.repetition_penalty() == 0 ? 1.0f : from.repetition_penalty();
  to.presence_penalty = from.presence_penalty();
  to.frequency_penalty = from.frequency_penalty();
  TESSERA_RETURN_IF_ERROR(InRange("temperature", to.temperature, 0, 2));
  TESSERA_RETURN_IF_ERROR(InRange("top_p", to.top_p, 0, 1));
  TESSERA_RETURN_IF_ERROR(InRange("min_p", to.min_p, 0, 1));
  TESSERA_RETURN_IF_ERROR(InRange("repetition_penalty", to.repetition_penalty,
                                  kRepetitionPenaltyMin, kRepetitionPenaltyMax));
  TESSERA_RETURN_IF_ERROR(InRange("presence_penalty", to.presence_penalty, -2, 2));
  TESSERA_RETURN_IF_ERROR(InRange("frequency_penalty", to.frequency_penalty, -2, 2));
  if (from.has_seed()) to.seed = from.seed();
  TESSERA_RETURN_IF_ERROR(AtMost("bias", static_cast<size_t>(from.bias_size()), kBiasMax));
  for (const v1::TokenBias& bias : from.bias()) {
    TESSERA_RETURN_IF_ERROR(InRange("bias", bias.bias(), -100, 100));
    TESSERA_RETURN_IF_ERROR(InRange("bias.token_id", bias.token_id(), 0, 0x7fffffff));
    to.bias.emplace_back(bias.token_id(), bias.bias());
  }
  TESSERA_RETURN_IF_ERROR(CheckTokens("allowed_token_ids", from.allowed_token_ids()));
  to.allowed = ToTokens(from.allowed_token_ids());
  return to;
}

void SamplingToProto(const SamplingOptions& from, v1::Sampling& to) {
  to.set_temperature(from.temperature);
  to.set_top_k(from.top_k);
  to.set_top_p(from.top_p);
  to.set_min_p(from.min_p);
  to.set_repetition_penalty(from.repetition_penalty);
  to.set_presence_penalty(from.presence_penalty);
  to.set_frequency_penalty(from.frequency_penalty);
  if (from.seed) to.set_seed(*from.seed);
  for (const auto& [token, bias] : from.bias) {
    v1::TokenBias& entry = *to.add_bias();
    entry.set_token_id(token);
    entry.set_bias(bias);
  }
  to.mutable_allowed_token_ids()->Add(from.allowed.begin(), from.allowed.end());
}

float Floored(float logprob) { return logprob > kLogprobFloor ? logprob : kLogprobFloor; }

TokenOutput ToOutput(const v1::TokenOutput& from) {
  TokenOutput to;
  to.token = from.token_id();
  if (from.has_logprob()) to.logprob = from.logprob();
  to.rank = from.rank();
  for (const v1::TokenLogprob& score : from.top()) {
    to.top.push_back({score.token_id(), score.logprob()});
  }
  const std::string& bytes = from.routed_experts();
  to.routed_experts.resize(bytes.size() / sizeof(uint16_t));
  for (size_t i = 0; i < to.routed_experts.size(); ++i) {
    to.routed_experts[i] = static_cast<uint16_t>(static_cast<uint8_t>(bytes[2 * i]) |
                                                 static_cast<uint8_t>(bytes[2 * i + 1]) << 8);
  }
  to.degraded = from.degraded();
  return to;
}

void OutputToProto(const TokenOutput& from, v1::TokenOutput& to) {
  to.set_token_id(from.token);
  if (from.logprob) to.set_logprob(Floored(*from.logprob));
  to.set_rank(from.rank);
  for (const TokenScore& score : from.top) {
    v1::TokenLogprob& entry = *to.add_top();
    entry.set_token_id(score.token);
    entry.set_logprob(Floored(score.logprob));
  }
  std::string& bytes = *to.mutable_routed_experts();
  for (const uint16_t expert : from.routed_experts) {
    bytes.push_back(static_cast<char>(expert & 0xff));
    bytes.push_back(static_cast<char>(expert >> 8));
  }
  to.set_degraded(from.degraded);
}

uint32_t Micros(absl::Duration d) {
  return static_cast<uint32_t>(
      std::clamp<int64_t>(absl::ToInt64Microseconds(d), 0, int64_t{0xffffffff}));
}
uint32_t Millis(absl::Duration d) {
  return static_cast<uint32_t>(
      std::clamp<int64_t>(absl::ToInt64Milliseconds(d), 0, int64_t{0xffffffff}));
}

absl::StatusOr<FinishedEvent> ToFinished(const v1::Finished& from) {
  if (from.reason() < v1::FINISH_REASON_STOP || from.reason() > v1::FINISH_REASON_ERROR ||
      (from.reason() == v1::FINISH_REASON_ERROR) != (from.error_code() != 0)) {
    return absl::InternalError(absl::StrCat("a request ended with the reason ", from.reason(),
                                            " and the code ", from.error_code()));
  }
  FinishedEvent to;
  to.kind = static_cast<FinishKind>(from.reason());
  to.prompt_tokens = from.prompt_tokens();
  to.produced_tokens = from.produced_tokens();
  to.cached_tokens = from.cached_tokens();
  to.degraded = from.degraded();
  to.error = absl::Status(static_cast<absl::StatusCode>(from.error_code()), from.error_message());
  to.retry_after = absl::Milliseconds(from.retry_after_ms());
  to.queued = absl::Microseconds(from.timing().queued_us());
  to.prefill = absl::Microseconds(from.timing().prefill_us());
  to.decode = absl::Microseconds(from.timing().decode_us());
  return to;
}

struct EventToProto {
  v1::GenerateEvent& message;

  void operator()(const StartedEvent& from) const {
    v1::Started& to = *message.mutable_started();
    to.set_prompt_tokens(from.prompt_tokens);
    to.set_cached_tokens(from.cached_tokens);
    for (const TokenOutput& token : from.prompt) OutputToProto(token, *to.add_prompt());
  }
  void operator()(const TokensEvent& from) const {
    v1::Tokens& to = *message.mutable_tokens();
    to.set_first_index(from.first_index);
    for (const TokenOutput& token : from.tokens) OutputToProto(token, *to.add_tokens());
  }
  void operator()(const FinishedEvent& from) const {
    v1::Finished& to = *message.mutable_finished();
    to.set_reason(static_cast<v1::FinishReason>(from.kind));
    to.set_prompt_tokens(from.prompt_tokens);
    to.set_produced_tokens(from.produced_tokens);
    to.set_cached_tokens(from.cached_tokens);
    to.set_degraded(from.degraded);
    to.set_error_code(static_cast<uint32_t>(from.error.code()));
    to.set_error_message(std::string(from.error.message()));
    to.set_retry_after_ms(Millis(from.retry_after));
    to.mutable_timing()->set_queued_us(Micros(from.queued));
    to.mutable_timing()->set_prefill_us(Micros(from.prefill));
    to.mutable_timing()->set_decode_us(Micros(from.decode));
  }
};

}  // namespace

absl::StatusOr<GenerationParams> ToGenerationParams(const v1::GenerateRequest& request) {
  if (request.request_id().empty() || request.request_id().size() > kRequestIdBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("request_id has ", request.request_id().size(),
                                                   " bytes, expected 1..", kRequestIdBytesMax));
  }
  if (request.prompt_token_ids().empty()) {
    return absl::InvalidArgumentError("prompt_token_ids is empty, expected at least one token");
  }
  TESSERA_RETURN_IF_ERROR(CheckTokens("prompt_token_ids", request.prompt_token_ids()));
  TESSERA_RETURN_IF_ERROR(CheckTokens("produced_token_ids", request.produced_token_ids()));
  TESSERA_RETURN_IF_ERROR(CheckTokens("stop_token_ids", request.stop_token_ids()));
  TESSERA_RETURN_IF_ERROR(
      AtMost("stop_token_ids", static_cast<size_t>(request.stop_token_ids_size()), kStopTokensMax));
  GenerationParams params;
  params.request_id = request.request_id();
  params.prompt = ToTokens(request.prompt_token_ids());
  params.produced = ToTokens(request.produced_token_ids());
  TESSERA_ASSIGN_OR_RETURN(params.sampling, ToSampling(request.sampling()));
  params.tokens_max = request.tokens_max();
  params.tokens_min = request.tokens_min();
  params.stop_tokens = ToTokens(request.stop_token_ids());
  params.ignore_eos = request.ignore_eos();
  if (request.deadline_ms() > 0) params.deadline = absl::Milliseconds(request.deadline_ms());
  params.priority = request.priority();
  params.cache_salt = request.cache_salt();
  params.no_prefix_cache = request.no_prefix_cache();
  if (request.has_logprobs()) params.logprobs = request.logprobs();
  params.want_prompt_logprobs = request.want_prompt_logprobs();
  params.want_routed_experts = request.want_routed_experts();
  params.degraded_allowed = request.degraded_allowed();
  if (!request.traceparent().empty()) {
    params.trace = ParseTraceparent(request.traceparent());
    if (!params.trace) {
      return absl::InvalidArgumentError(
          absl::StrCat("traceparent has ", request.traceparent().size(),
                       " bytes that are none, expected 00-<trace id>-<span id>-<flags>"));
    }
  }
  return params;
}

void ToProto(const GenerationParams& params, v1::GenerateRequest& request) {
  request.Clear();
  request.set_request_id(params.request_id);
  request.mutable_prompt_token_ids()->Add(params.prompt.begin(), params.prompt.end());
  request.mutable_produced_token_ids()->Add(params.produced.begin(), params.produced.end());
  SamplingToProto(params.sampling, *request.mutable_sampling());
  request.set_tokens_max(params.tokens_max);
  request.set_tokens_min(params.tokens_min);
  request.mutable_stop_token_ids()->Add(params.stop_tokens.begin(), params.stop_tokens.end());
  request.set_ignore_eos(params.ignore_eos);
  // Rounded up: a deadline of less than a millisecond is not "none".
  if (params.deadline) {
    request.set_deadline_ms(
        std::max(1u, Millis(absl::Ceil(*params.deadline, absl::Milliseconds(1)))));
  }
  request.set_priority(params.priority);
  request.set_cache_salt(params.cache_salt);
  request.set_no_prefix_cache(params.no_prefix_cache);
  if (params.logprobs) request.set_logprobs(*params.logprobs);
  request.set_want_prompt_logprobs(params.want_prompt_logprobs);
  request.set_want_routed_experts(params.want_routed_experts);
  request.set_degraded_allowed(params.degraded_allowed);
  if (params.trace) request.set_traceparent(FormatTraceparent(*params.trace));
}

absl::StatusOr<TokenEvent> ToTokenEvent(const v1::GenerateEvent& event) {
  TokenEvent to;
  to.request_id = event.request_id();
  switch (event.event_case()) {
    case v1::GenerateEvent::kStarted: {
      StartedEvent started{event.started().prompt_tokens(), event.started().cached_tokens(), {}};
      for (const v1::TokenOutput& t : event.started().prompt()) {
        started.prompt.push_back(ToOutput(t));
      }
      to.event = std::move(started);
      return to;
    }
    case v1::GenerateEvent::kTokens: {
      TokensEvent tokens{event.tokens().first_index(), {}};
      for (const v1::TokenOutput& t : event.tokens().tokens()) tokens.tokens.push_back(ToOutput(t));
      if (tokens.tokens.empty()) return absl::InternalError("the router sent tokens, but none");
      to.event = std::move(tokens);
      return to;
    }
    case v1::GenerateEvent::kFinished: {
      TESSERA_ASSIGN_OR_RETURN(to.event, ToFinished(event.finished()));
      return to;
    }
    case v1::GenerateEvent::EVENT_NOT_SET:
      break;
  }
  return absl::InternalError("the router sent an event of no kind this end knows");
}

void ToProto(const TokenEvent& event, v1::GenerateEvent& message) {
  message.Clear();
  message.set_request_id(event.request_id);
  std::visit(EventToProto{message}, event.event);
}

}  // namespace tessera::wire
