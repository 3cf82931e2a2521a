#include "services/gateway/api/generation_request.h"

#include "absl/strings/str_cat.h"
#include "services/gateway/api/api_error.h"

namespace tessera::gateway {
namespace {

absl::Status CheckId(TokenId id, uint32_t vocab_size, std::string_view param) {
  if (id >= 0 && static_cast<uint32_t>(id) < vocab_size) return absl::OkStatus();
  return BadRequest(
      param, absl::StrCat(absl::string_view(param.data(), param.size()), ": the token id ", id,
                          " is not in the vocabulary of ", vocab_size));
}

}  // namespace

absl::StatusOr<wire::SamplingOptions> Resolve(const SamplingOverrides& overrides,
                                              const wire::SamplingOptions& defaults,
                                              uint32_t vocab_size) {
  wire::SamplingOptions options = defaults;
  const auto put = [](const auto& from, auto& to) {
    if (from.has_value()) to = *from;
  };
  put(overrides.temperature, options.temperature);
  put(overrides.top_k, options.top_k);
  put(overrides.top_p, options.top_p);
  put(overrides.min_p, options.min_p);
  put(overrides.repetition_penalty, options.repetition_penalty);
  put(overrides.presence_penalty, options.presence_penalty);
  put(overrides.frequency_penalty, options.frequency_penalty);
  if (overrides.seed.has_value()) options.seed = static_cast<uint64_t>(*overrides.seed);
  if (!overrides.logit_bias.empty()) options.bias = overrides.logit_bias;
  if (!overrides.allowed_token_ids.empty()) options.allowed = overrides.allowed_token_ids;
  for (const auto& [id, bias] : overrides.logit_bias) {
    if (const absl::Status status = CheckId(id, vocab_size, "logit_bias"); !status.ok())
      return status;
  }
  for (const TokenId id : overrides.allowed_token_ids) {
    if (const absl::Status status = CheckId(id, vocab_size, "allowed_token_ids"); !status.ok())
      return status;
  }
  return options;
}

}  // namespace tessera::gateway
