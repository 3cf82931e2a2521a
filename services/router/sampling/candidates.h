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
  float logit = 0.0f;  // already divided by the temperature
};

// The tokens that may be drawn, in an order that depends on the logits only. With l = logit / T and
// p = softmax(l):
//   min_p  keeps p >= min_p * max p
//   top_k  keeps the k largest of those, ties to the lower id
//   top_p  keeps the fewest of those, largest first, whose renormalised p sum to >= top_p
// logits [vocab], at least one finite, the others finite or minus infinity (never kept).
// `candidates` is overwritten; never empty. No sort of the vocabulary: one pass finds the bucket of
// logits in which the sum of top_p is reached, and only that bucket is sorted.
void SelectCandidates(std::span<const float> logits, const SamplingParams& params,
                      std::vector<Candidate>& candidates);

// The candidate at `uniform` (in [0, 1)) of the cumulative distribution softmax(logit).
TokenId Draw(std::span<const Candidate> candidates, double uniform);

}  // namespace tessera::router
