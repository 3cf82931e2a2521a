#pragma once

// Chooses the next token of every row that samples.
//
//   logits ─finite?─► logprobs ─► processors ─► greedy: largest │ else candidates ─draw(seed,
//   position)─► token
//
// A sequence's token depends on its logits, its tokens and its parameters only: not on the batch,
// on preemption or on the number of threads. Owned by the engine thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/concurrency/thread_pool.h"
#include "common/tensor/matrix_view.h"
#include "services/router/sampling/candidates.h"
#include "services/router/sequence/sampled_token.h"
#include "services/router/sequence/step_batch.h"

namespace tessera::router {

struct SamplerConfig {
  size_t vocab = 0;  // real tokens; logits from here on are padding and never looked at; > 0
};

// The log probability of `token`, its rank and the `count` best, of softmax(logits [vocab]); what
// prompt_logprobs needs, too. Ties go to the lower id. kInternal if a logit is not finite.
absl::Status ComputeLogprobs(std::span<const float> logits, TokenId token, size_t count,
                             SampledToken& out);

class Sampler {
 public:
  // `pool` is borrowed; rows are shared out among its threads.
  Sampler(const SamplerConfig& config, ThreadPool& pool);

  // One answer per batch.samples(), in that order. logits [batch.logits_rows(), >= vocab]; changed
  // by nothing. A row with a logit that is NaN or infinite gives kInternal for its sequence only, a
  // mask that allows nothing kFailedPrecondition.
  std::vector<SampledToken> Sample(const StepBatch& batch, ConstMatrixView logits);

  // One row, on the calling thread. The position of the new token is sequence.token_count().
  SampledToken SampleRow(const Sequence& sequence, std::span<const float> logits);

 private:
  // Memory of one thread, kept between steps.
  struct Scratch {
    std::vector<float> logits;
    std::vector<uint64_t> mask_words;
    std::vector<Candidate> candidates;
  };
  SampledToken SampleRow(const Sequence& sequence, std::span<const float> logits,
                         Scratch& scratch) const;

  const SamplerConfig config_;
  ThreadPool& pool_;
  std::vector<Scratch> scratch_;  // [threads]
};

}  // namespace tessera::router
