#include "services/router/sampling/logits_processors.h"

#include <algorithm>
#include <limits>

#include "common/base/check.h"

namespace tessera::router {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

bool HasToken(std::span<const float> logits, TokenId token) {
  return token >= 0 && static_cast<size_t>(token) < logits.size();
}

bool MinTokensApply(const Sequence& sequence) {
  return sequence.produced_count() < sequence.sampling().min_tokens && !sequence.stop_ids().empty();
}

}  // namespace

bool NeedsProcessing(const Sequence& sequence) {
  const SamplingParams& params = sequence.sampling();
  return params.mask != nullptr || MinTokensApply(sequence) || !params.logit_bias.empty() ||
         params.has_penalties();
}

void ApplyProcessors(const Sequence& sequence, std::span<float> logits,
                     std::vector<uint64_t>& mask_words) {
  if (sequence.sampling().mask) {
    mask_words.assign((logits.size() + 63) / 64, 0);
    sequence.sampling().mask(sequence.produced(), mask_words);
    ApplyMask(mask_words, logits);
  }
  if (MinTokensApply(sequence)) ApplyMinTokens(sequence, logits);
  ApplyLogitBias(sequence, logits);
  if (sequence.sampling().has_penalties()) ApplyPenalties(sequence, logits);
}

void ApplyMask(std::span<const uint64_t> allowed, std::span<float> logits) {
  TESSERA_CHECK(allowed.size() == (logits.size() + 63) / 64);
  for (size_t word = 0; word < allowed.size(); ++word) {
    if (allowed[word] == ~uint64_t{0}) continue;
    const size_t begin = word * 64;
    const size_t count = std::min<size_t>(64, logits.size() - begin);
    for (size_t bit = 0; bit < count; ++bit) {
      if ((allowed[word] >> bit & 1) == 0) logits[begin + bit] = kForbidden;
    }
  }
}

void ApplyMinTokens(const Sequence& sequence, std::span<float> logits) {
  if (!MinTokensApply(sequence)) return;
  for (const TokenId token : sequence.stop_ids()) {
    if (HasToken(logits, token)) logits[static_cast<size_t>(token)] = kForbidden;
  }
}

void ApplyLogitBias(const Sequence& sequence, std::span<float> logits) {
  for (const auto& [token, bias] : sequence.sampling().logit_bias) {
    if (HasToken(logits, token)) logits[static_cast<size_t>(token)] += bias;
  }
}

void ApplyPenalties(const Sequence& sequence, std::span<float> logits) {
  const SamplingParams& params = sequence.sampling();
  // Each token is touched once, so the order of the map does not matter.
  for (const auto& [token, occurrence] : sequence.occurrences()) {
    if (!HasToken(logits, token)) continue;
    float& logit = logits[static_cast<size_t>(token)];
    logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    if (occurrence.produced_count == 0) continue;
    logit -= params.frequency_penalty * static_cast<float>(occurrence.produced_count);
    logit -= params.presence_penalty;
  }
}

}  // namespace tessera::router
