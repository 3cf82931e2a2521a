#include "services/router/sampling/sampler.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "services/router/sampling/logits_processors.h"
#include "services/router/sampling/row_math.h"

namespace tessera::router {
namespace {

absl::Status CheckFinite(std::span<const float> logits) {
  const size_t token = FirstNonFinite(logits);
  if (token == logits.size()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the model's logit of token ", token, " is ",
                                          logits[token], "; no token can be chosen from it"));
}

// Of processed logits: whether a largest one exists.
absl::Status CheckLargest(float max) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (max == -kInfinity) {
    return absl::FailedPreconditionError(
        "mask, logit_bias and min_tokens together forbid every token");
  }
  if (max == kInfinity) {
    return absl::InvalidArgumentError(
        "logit_bias or penalties make a logit infinite; use smaller ones");
  }
  return absl::OkStatus();
}

void FillLogprobs(std::span<const float> logits, TokenId token, size_t count, SampledToken& out) {
  const float max = MaxOf(logits);
  const double log_sum = double{max} + std::log(ExpShifted(logits, max, 1.0f, {}));
  const auto logprob_of = [&](size_t id) { return static_cast<float>(logits[id] - log_sum); };
  const size_t chosen = static_cast<size_t>(token);
  out.logprob = logprob_of(chosen);
  out.rank = static_cast<uint32_t>(1 + CountAbove(logits, logits[chosen]));
  out.top_logprobs.clear();
  for (const uint32_t id : LargestIndices(logits, count)) {
    out.top_logprobs.push_back({static_cast<TokenId>(id), logprob_of(id)});
  }
}

}  // namespace

absl::Status ComputeLogprobs(std::span<const float> logits, TokenId token, size_t count,
                             SampledToken& out) {
  TESSERA_CHECK(token >= 0 && static_cast<size_t>(token) < logits.size());
  TESSERA_RETURN_IF_ERROR(CheckFinite(logits));
  FillLogprobs(logits, token, count, out);
  return absl::OkStatus();
}

Sampler::Sampler(const SamplerConfig& config, ThreadPool& pool)
    : config_(config), pool_(pool), scratch_(pool.thread_count()) {
  TESSERA_CHECK(config.vocab > 0);
}

std::vector<SampledToken> Sampler::Sample(const StepBatch& batch, ConstMatrixView logits) {
  TESSERA_CHECK(logits.rows() == batch.logits_rows().size());
  std::vector<SampledToken> sampled(batch.samples().size());
  pool_.ParallelFor(sampled.size(), 1, [&](size_t begin, size_t end, size_t worker) {
    for (size_t i = begin; i < end; ++i) {
      const StepBatch::Sample& sample = batch.samples()[i];
      sampled[i] = SampleWith(scratch_[worker], *sample.sequence, logits.row(sample.logits_index));
    }
  });
  return sampled;
}

SampledToken Sampler::SampleRow(const Sequence& sequence, std::span<const float> logits) {
  return SampleWith(scratch_[0], sequence, logits);
}

SampledToken Sampler::SampleWith(Scratch& scratch, const Sequence& sequence,
                                 std::span<const float> row) const {
  TESSERA_CHECK(row.size() >= config_.vocab);
  const SamplingParams& params = sequence.sampling();
  const std::span<const float> logits = row.first(config_.vocab);
  SampledToken out;
  out.status = CheckFinite(logits);
  if (!out.status.ok()) return out;

  std::span<const float> processed = logits;
  if (NeedsProcessing(sequence)) {
    scratch.logits.assign(logits.begin(), logits.end());
    ApplyProcessors(sequence, scratch.logits, scratch.mask_words);
    processed = scratch.logits;
    out.status = CheckLargest(MaxOf(processed));
    if (!out.status.ok()) return out;
  }
  if (params.is_greedy()) {
    out.token = static_cast<TokenId>(ArgMax(processed));
  } else {
    SelectCandidates(processed, params, scratch.selection, scratch.candidates);
    out.token = Draw(scratch.candidates, RandomUniform(params.seed, sequence.token_count()));
  }
  if (params.logprobs) FillLogprobs(logits, out.token, *params.logprobs, out);
  return out;
}

}  // namespace tessera::router
