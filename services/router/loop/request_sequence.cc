#include "services/router/loop/request_sequence.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera::router {
namespace {

absl::Status CheckTokens(const char* name, std::span<const TokenId> tokens, size_t vocab) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && static_cast<size_t>(tokens[i]) < vocab) continue;
    return absl::InvalidArgumentError(absl::StrCat(name, "[", i, "] is ", tokens[i],
                                                   "; tokens of this model are 0 to ", vocab - 1));
  }
  return absl::OkStatus();
}

TokenMask MaskOf(std::vector<TokenId> allowed) {
  if (allowed.empty()) return {};
  return [tokens = std::move(allowed)](std::span<const TokenId>, std::span<uint64_t> words) {
    for (const TokenId token : tokens) {
      const auto bit = static_cast<size_t>(token);
      words[bit / 64] |= uint64_t{1} << (bit % 64);
    }
  };
}

absl::Status CheckParams(const wire::GenerationParams& params, size_t vocab) {
  TESSERA_RETURN_IF_ERROR(CheckTokens("prompt_token_ids", params.prompt, vocab));
  TESSERA_RETURN_IF_ERROR(CheckTokens("produced_token_ids", params.produced, vocab));
  TESSERA_RETURN_IF_ERROR(CheckTokens("stop_token_ids", params.stop_tokens, vocab));
  TESSERA_RETURN_IF_ERROR(CheckTokens("allowed_token_ids", params.sampling.allowed, vocab));
  if (params.produced.size() > params.tokens_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("produced_token_ids has ", params.produced.size(),
                     " tokens; they count to tokens_max, which is ", params.tokens_max));
  }
  if (params.tokens_min > params.tokens_max) {
    return absl::InvalidArgumentError(absl::StrCat("tokens_min is ", params.tokens_min,
                                                   "; it must be at most tokens_max, ",
                                                   params.tokens_max));
  }
  const size_t scores = params.prompt.size() * (size_t{params.logprobs.value_or(0)} + 1);
  if (params.want_prompt_logprobs && scores > kPromptScoresMax) {
    return absl::InvalidArgumentError(absl::StrCat("want_prompt_logprobs with logprobs ",
                                                   params.logprobs.value_or(0), " for ",
                                                   params.prompt.size(), " prompt tokens makes ",
                                                   scores, " scores; at most ", kPromptScoresMax));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SequenceRequest> ToSequenceRequest(wire::GenerationParams params, SequenceId id,
                                                  size_t vocab, absl::Duration now, uint64_t seed) {
  TESSERA_RETURN_IF_ERROR(CheckParams(params, vocab));
  wire::SamplingOptions& from = params.sampling;
  SequenceRequest request;
  request.id = id;
  request.prompt = std::move(params.prompt);
  request.produced = std::move(params.produced);
  SamplingParams& to = request.sampling;
  to.temperature = from.temperature;
  to.top_k = from.top_k;
  to.top_p = from.top_p;
  to.min_p = from.min_p;
  to.repetition_penalty = from.repetition_penalty;
  to.presence_penalty = from.presence_penalty;
  to.frequency_penalty = from.frequency_penalty;
  for (const auto& [token, bias] : from.bias) to.logit_bias[token] = bias;
  to.seed = from.seed.value_or(seed);
  to.logprobs = params.logprobs;
  to.ignore_eos = params.ignore_eos;
  to.min_tokens = params.tokens_min;
  to.max_tokens = params.tokens_max;
  to.stop_token_ids = std::move(params.stop_tokens);
  to.mask = MaskOf(std::move(from.allowed));
  TESSERA_RETURN_IF_ERROR(ValidateSampling(to, vocab));
  request.priority = params.priority;
  request.cache_salt = std::move(params.cache_salt);
  if (params.deadline) request.deadline = now + *params.deadline;
  request.wants_prompt_logits = params.want_prompt_logprobs;
  request.wants_routed_experts = params.want_routed_experts;
  request.uses_prefix_cache = !params.no_prefix_cache;
  request.degraded_allowed = params.degraded_allowed;
  return request;
}

}  // namespace tessera::router
