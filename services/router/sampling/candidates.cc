#include "services/router/sampling/candidates.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "common/base/check.h"
#include "services/router/sampling/row_math.h"

namespace tessera::router {
namespace {

// Above this many a heap loses to a selection on a copy.
constexpr size_t kHeapCountMax = 2048;

double SumOf(std::span<const Candidate> candidates) {
  double sum = 0.0;
  for (const Candidate& candidate : candidates) sum += static_cast<double>(candidate.weight);
  return sum;
}

bool IsBetter(const Candidate& a, const Candidate& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
}

// The k largest logits, ascending ids.
std::vector<uint32_t> TopKIds(std::span<const float> logits, size_t k) {
  std::vector<uint32_t> ids;
  if (k <= kHeapCountMax) {
    ids = LargestIndices(logits, k);
  } else {
    ids.resize(logits.size());
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<uint32_t>(i);
    std::nth_element(ids.begin(), ids.begin() + static_cast<long>(k), ids.end(),
                     [logits](uint32_t a, uint32_t b) {
                       return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
                     });
    ids.resize(k);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

// Weights lie in (0, 1]; the upper bits of a positive float32 order it: exponent and 5 bits of the
// fraction make buckets 3 % wide at most.
constexpr uint32_t kBucketShift = 18;
constexpr size_t kBucketCount = (0x3f800000u >> kBucketShift) + 1;

size_t BucketOf(float weight) { return std::bit_cast<uint32_t>(weight) >> kBucketShift; }

// The worst of the fewest of `ranked`, best first, whose weights reach `target`. Reorders.
Candidate LastOfMass(double target, std::span<Candidate> ranked) {
  size_t begin = 0;            // ranked[0, begin) belong to the answer
  size_t end = ranked.size();  // ranked[0, end) suffice
  double mass = 0.0;           // of ranked[0, begin)
  while (end - begin > 1) {
    const size_t middle = begin + (end - begin) / 2;
    const auto at = [&](size_t i) { return ranked.begin() + static_cast<long>(i); };
    std::nth_element(at(begin), at(middle), at(end), IsBetter);
    const double half = SumOf(ranked.subspan(begin, middle - begin));
    if (mass + half >= target) {
      end = middle;
    } else {
      mass += half;
      begin = middle;
    }
  }
  return ranked[begin];
}

// Keeps the fewest candidates, best first, whose weights reach `target`; their order stays.
void KeepMass(double target, CandidateScratch& scratch, std::vector<Candidate>& candidates) {
  scratch.bucket_mass.assign(kBucketCount, 0.0);
  for (const Candidate& candidate : candidates) {
    scratch.bucket_mass[BucketOf(candidate.weight)] += static_cast<double>(candidate.weight);
  }
  size_t bucket = kBucketCount;
  double mass = 0.0;  // of the buckets above
  while (bucket-- > 0) {
    if (mass + scratch.bucket_mass[bucket] >= target) break;
    mass += scratch.bucket_mass[bucket];
  }
  if (bucket >= kBucketCount) return;  // rounding only: all are needed
  scratch.ranked.clear();
  for (const Candidate& candidate : candidates) {
    if (BucketOf(candidate.weight) == bucket) scratch.ranked.push_back(candidate);
  }
  const Candidate last = LastOfMass(target - mass, scratch.ranked);
  std::erase_if(candidates, [&](const Candidate& c) { return IsBetter(last, c); });
}

}  // namespace

void SelectCandidates(std::span<const float> logits, const SamplingParams& params,
                      CandidateScratch& scratch, std::vector<Candidate>& candidates) {
  const float scale = 1.0f / params.temperature;
  candidates.clear();
  const auto keep = [&](size_t token, float weight) {
    if (weight > 0 && weight >= params.min_p) {
      candidates.push_back({static_cast<TokenId>(token), weight});
    }
  };
  const float max = MaxOf(logits);
  TESSERA_CHECK(std::isfinite(max));
  if (params.top_k > 0 && params.top_k < logits.size()) {
    for (const uint32_t token : TopKIds(logits, params.top_k)) {
      keep(token, ExpNonPositive((logits[token] - max) * scale));
    }
  } else {
    scratch.weights.resize(logits.size());
    const double sum = ExpShifted(logits, max, scale, scratch.weights);
    // All weights below this bound together are less than what top_p may leave out, so none of
    // them is kept. Rounding is covered by halving. With min_p the sum that counts is smaller.
    const double bound =
        params.min_p > 0 || params.top_p >= 1.0f
            ? 0.0
            : 0.5 * (1.0 - double{params.top_p}) * sum / static_cast<double>(logits.size());
    const float least = static_cast<float>(bound);
    for (size_t token = 0; token < logits.size(); ++token) {
      if (scratch.weights[token] >= least) keep(token, scratch.weights[token]);
    }
    if (params.top_p < 1.0f && params.min_p == 0) {
      KeepMass(double{params.top_p} * sum, scratch, candidates);
      return;
    }
  }
  if (params.top_p < 1.0f) {
    KeepMass(double{params.top_p} * SumOf(candidates), scratch, candidates);
  }
}

TokenId Draw(std::span<const Candidate> candidates, double uniform) {
  TESSERA_CHECK(!candidates.empty());
  const double target = uniform * SumOf(candidates);
  double sum = 0.0;
  for (const Candidate& candidate : candidates) {
    sum += static_cast<double>(candidate.weight);
    if (sum > target) return candidate.token;
  }
  return candidates.back().token;  // rounding only
}

}  // namespace tessera::router
