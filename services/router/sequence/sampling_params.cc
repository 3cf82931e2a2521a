#include "services/router/sequence/sampling_params.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace tessera::router {
namespace {

// NaN fails every comparison, so ranges are written as what is allowed.
absl::Status CheckRange(absl::string_view name, float value, bool is_allowed,
                        absl::string_view range) {
  if (is_allowed && std::isfinite(value)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " is ", value, "; it must be ", range));
}

absl::Status CheckToken(absl::string_view name, TokenId token, size_t vocab) {
  if (token >= 0 && static_cast<size_t>(token) < vocab) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " names token ", token, "; tokens are 0 to ", vocab - 1));
}

}  // namespace

absl::Status ValidateSampling(const SamplingParams& params, size_t vocab) {
  const absl::Status checks[] = {
      CheckRange("temperature", params.temperature, params.temperature >= 0, "at least 0"),
      CheckRange("top_p", params.top_p, params.top_p > 0 && params.top_p <= 1,
                 "above 0 and at most 1"),
      CheckRange("min_p", params.min_p, params.min_p >= 0 && params.min_p <= 1, "0 to 1"),
      CheckRange("repetition_penalty", params.repetition_penalty, params.repetition_penalty > 0,
                 "above 0"),
      CheckRange("presence_penalty", params.presence_penalty,
                 params.presence_penalty >= -2 && params.presence_penalty <= 2, "-2 to 2"),
      CheckRange("frequency_penalty", params.frequency_penalty,
                 params.frequency_penalty >= -2 && params.frequency_penalty <= 2, "-2 to 2"),
  };
  for (const absl::Status& check : checks) {
    if (!check.ok()) return check;
  }
  for (const auto& [token, bias] : params.logit_bias) {
    if (absl::Status status = CheckToken("logit_bias", token, vocab); !status.ok()) return status;
    const absl::Status status = CheckRange("logit_bias", bias, true, "finite");
    if (!status.ok()) return status;
  }
  for (const TokenId token : params.stop_token_ids) {
    absl::Status status = CheckToken("stop_token_ids", token, vocab);
    if (!status.ok()) return status;
  }
  if (params.logprobs > kLogprobsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("logprobs is ", *params.logprobs, "; it must be at most ", kLogprobsMax));
  }
  if (params.min_tokens > params.max_tokens) {
    return absl::InvalidArgumentError(absl::StrCat("min_tokens is ", params.min_tokens,
                                                   "; it must be at most max_tokens, ",
                                                   params.max_tokens));
  }
  return absl::OkStatus();
}

}  // namespace tessera::router
