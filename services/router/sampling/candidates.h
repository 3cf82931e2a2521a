#pragma once

// From processed logits to one token: the set that min_p, top_k and top_p leave, and a draw from
// it. Thread-safe: they touch only their arguments.

#include <cstdint>
#include <span>
#include <vector>

#include "common/base/ids.h"
#include "services/router/sequence/sampling_params.h"

namespace tessera::router {

struct Candidate {
  TokenId token = 0;
  float weight = 0.0f;  // exp((logit - largest logit) / temperature): in proportion to p, > 0
};

// Memory that a caller keeps between rows.
struct CandidateScratch {
  std::vector<float> weights;
  std::vector<double> bucket_mass;
  std::vector<Candidate> ranked;
};

// The tokens that may be drawn, in ascending id. With p = softmax(logits / temperature):
//   min_p  keeps p >= min_p * largest p
//   top_k  keeps the k largest of those, ties to the lower id
//   top_p  keeps the fewest of those, largest first, whose renormalised p sum to >= top_p
// A token with p below exp(-87) = 1.6e-38 times the largest is never kept: its weight would not be
// a normal float32. logits [vocab], at least one finite, the others finite or minus infinity (never
// kept); not greedy. `candidates` is overwritten; never empty. The vocabulary is never sorted:
// top_k keeps a heap while it passes over the logits, top_p drops what lies below a bound that
// cannot matter and halves the rest until the sum is met.
void SelectCandidates(std::span<const float> logits, const SamplingParams& params,
                      CandidateScratch& scratch, std::vector<Candidate>& candidates);

// The candidate at `uniform` (in [0, 1)) of the cumulative distribution.
TokenId Draw(std::span<const Candidate> candidates, double uniform);

}  // namespace tessera::router
