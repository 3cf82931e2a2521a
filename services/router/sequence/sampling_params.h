#pragma once

// How the next token of one request is chosen. Names and meanings are those of vLLM's
// SamplingParams, so that a request moved here gives the same distribution.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "common/base/ids.h"

namespace tessera::router {

// Says which tokens may follow `produced`: sets bit t % 64 of allowed[t / 64] for an allowed token
// t. `allowed` arrives zeroed, ceil(vocab / 64) words. Called at most once a step, from a compute
// thread, never twice at the same time for one sequence; may be called again for the same
// `produced` after a failed step.
using TokenMask =
    std::function<void(std::span<const TokenId> produced, std::span<uint64_t> allowed)>;

struct SamplingParams {
  float temperature = 1.0f;  // >= 0; below kGreedyTemperature: the most probable token
  uint32_t top_k = 0;        // keep the k most probable tokens; 0: all
  float top_p = 1.0f;        // (0, 1]: keep the fewest tokens whose probabilities reach this sum
  float min_p = 0.0f;        // [0, 1]: drop tokens below min_p times the largest probability
  float repetition_penalty = 1.0f;  // > 0, over prompt and produced: logits > 0 divided, < 0 times
  float presence_penalty = 0.0f;    // [-2, 2], over produced: subtracted once
  float frequency_penalty = 0.0f;   // [-2, 2], over produced: subtracted once per occurrence
  std::map<TokenId, float> logit_bias;  // added to logits; finite
  uint64_t seed = 0;                    // with the position decides the draw; nothing else does
  std::optional<uint32_t> logprobs;     // chosen token's and that many best; 0: the chosen one only
  bool ignore_eos = false;              // the model's end tokens do not stop the sequence
  uint32_t min_tokens = 0;              // end and stop tokens cannot be chosen before so many
  uint32_t max_tokens = 16;             // produced tokens at most; 0: compute the prompt only
  std::vector<TokenId> stop_token_ids;  // end the sequence as the end token does
  TokenMask mask;                       // empty: all tokens

  static constexpr float kGreedyTemperature = 1e-5f;
  bool is_greedy() const { return temperature < kGreedyTemperature; }
  bool has_penalties() const {
    return repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f;
  }
};

inline constexpr uint32_t kLogprobsMax = 1024;  // a limit against absurd requests; APIs ask <= 20

// kInvalidArgument naming the field, its value and its range. Tokens must be < vocab.
absl::Status ValidateSampling(const SamplingParams& params, size_t vocab);

}  // namespace tessera::router
