#pragma once

// Chooses the next token of every row that samples.
//
//   logits ─ finite? ─► processors ─┬─ greedy: the largest ──────────────────────────┬─► token,
//                                   └─ candidates ─► draw(seed, position of the token) ┘   logprobs
//
// A sequence's token depends on its logits, its tokens and its parameters only: not on the batch,
// on preemption or on the number of threads. Owned by the engine thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "common/concurrency/thread_pool.h"
#include "common/tensor/matrix_view.h"
#include "services/router/sampling/candidates.h"
#include "services/router/sequence/sampled_token.h"
#include "services/router/sequence/step_batch.h"

namespace tessera::router {

struct SamplerConfig {
  size_t vocab = 0;  // real tokens; logits from here on are padding and never looked at; > 0
};

// Fills out.logprob, .rank and .top_logprobs (the `count` best, ties to the lower id) from
// log softmax(logits [vocab]), which no processor has touched; also what prompt_logprobs needs.
// token < vocab. kInternal if a logit is not finite; `out` is unchanged then.
absl::Status ComputeLogprobs(std::span<const float> logits, TokenId token, size_t count,
                             SampledToken& out);

class Sampler {
 public:
  // `pool` is borrowed; rows are shared out among its threads.
  Sampler(const SamplerConfig& config, ThreadPool& pool);

  // One answer per batch.samples(), in that order; the new token stands at position
  // sequence.token_count(). logits [batch.logits_rows(), >= vocab] are only read.
  // Errors, each in the answer of its own sequence:
  //   kInternal            a logit is NaN or infinite.
  //   kFailedPrecondition  mask, bias and min_tokens together forbid every token.
  //   kInvalidArgument     bias or penalty made a logit infinite.
  std::vector<SampledToken> Sample(const StepBatch& batch, ConstMatrixView logits);

  // One row [>= vocab], on the calling thread.
  SampledToken SampleRow(const Sequence& sequence, std::span<const float> logits);

 private:
  // Memory of one thread, kept between steps.
  struct Scratch {
    std::vector<float> logits;
    std::vector<uint64_t> mask_words;
    std::vector<Candidate> candidates;
    CandidateScratch selection;
  };
  SampledToken SampleWith(Scratch& scratch, const Sequence& sequence,
                          std::span<const float> logits) const;

  const SamplerConfig config_;
  ThreadPool& pool_;
  std::vector<Scratch> scratch_;  // [threads]
};

}  // namespace tessera::router
