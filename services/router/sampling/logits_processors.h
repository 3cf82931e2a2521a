#pragma once

// What a request asks to be done to its logits before a token is chosen. Free functions of one row,
// in the order in which vLLM applies them: mask, min_tokens, logit_bias, penalties, then (unless
// greedy) temperature, min_p, top_k, top_p; the last four are in candidates.h.
// A forbidden token gets minus infinity. Thread-safe: they touch only their arguments.

#include <cstdint>
#include <span>
#include <vector>

#include "services/router/sequence/sequence.h"

namespace tessera::router {

// Whether any of the processors below would change a logit of this sequence now.
bool NeedsProcessing(const Sequence& sequence);

// All of them, in order, on finite logits [vocab] of real tokens. `mask_words` is scratch memory.
// A large bias or penalty may leave infinite logits: the caller looks.
void ApplyProcessors(const Sequence& sequence, std::span<float> logits,
                     std::vector<uint64_t>& mask_words);

// The parts. Tokens >= logits.size() are ignored.
//   allowed  bit t % 64 of word t / 64 for token t, [ceil(vocab / 64)].
void ApplyMask(std::span<const uint64_t> allowed, std::span<float> logits);
void ApplyMinTokens(const Sequence& sequence, std::span<float> logits);
void ApplyLogitBias(const Sequence& sequence, std::span<float> logits);
// repetition: logit > 0 ? logit / penalty : logit * penalty, for tokens of prompt and produced;
// then frequency * count and presence are subtracted for produced tokens.
void ApplyPenalties(const Sequence& sequence, std::span<float> logits);

}  // namespace tessera::router
