#pragma once

// What the sampler hands to the scheduler and to whoever writes the answer.

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "common/base/ids.h"

namespace tessera::router {

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0.0f;  // natural logarithm, of the model's own distribution (no processors)
};

struct SampledToken {
  // Not OK: this request ends with this error and `token` means nothing.
  absl::Status status;
  TokenId token = 0;
  // Filled if the request asked for logprobs.
  float logprob = 0.0f;                    // of `token`
  uint32_t rank = 0;                       // 1 + tokens more probable than `token`
  std::vector<TokenLogprob> top_logprobs;  // descending, as many as asked for
  // If asked for: the experts of the row the token was sampled from, [moe_layer_count, top_k],
  // ascending within a layer.
  std::vector<uint16_t> routed_experts;
};

}  // namespace tessera::router
