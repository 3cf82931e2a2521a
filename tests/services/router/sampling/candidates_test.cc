#include "services/router/sampling/candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "common/base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tessera::router {
namespace {

using ::testing::ElementsAre;

std::vector<TokenId> Ids(const std::vector<Candidate>& candidates) {
  std::vector<TokenId> ids;
  for (const Candidate& candidate : candidates) ids.push_back(candidate.token);
  return ids;
}

std::vector<TokenId> Select(const std::vector<float>& logits, const SamplingParams& params) {
  CandidateScratch scratch;
  std::vector<Candidate> candidates = {{99, 1.0f}};
  SelectCandidates(logits, params, scratch, candidates);
  return Ids(candidates);
}

// The definition, with a sort of everything, in float64. `margin` becomes the distance of the
// nearest decision from its bound: below 1e-5 float32 may decide otherwise.
std::vector<TokenId> SelectBySorting(const std::vector<float>& logits, const SamplingParams& params,
                                     double& margin) {
  std::vector<TokenId> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  const auto weight = [&](TokenId token) {
    return std::exp((double{logits[static_cast<size_t>(token)]} -
                     double{logits[static_cast<size_t>(order[0])]}) /
                    double{params.temperature});
  };
  const double lowest = std::exp(-87.0);  // weights below are nothing, see candidates.h
  margin = 1.0;
  std::vector<TokenId> kept;
  for (const TokenId token : order) {
    if (params.top_k > 0 && kept.size() == params.top_k) break;
    if (params.min_p > 0) {
      margin = std::min(margin, std::abs(weight(token) / double{params.min_p} - 1.0));
    }
    margin = std::min(margin, std::abs(weight(token) / lowest - 1.0));
    if (weight(token) >= std::max(double{params.min_p}, lowest)) kept.push_back(token);
  }
  double total = 0.0;
  for (const TokenId token : kept) total += weight(token);
  if (params.top_p < 1.0f) {
    double sum = 0.0;
    size_t count = 0;
    while (count < kept.size() && sum < double{params.top_p} * total) {
      sum += weight(kept[count++]);
      margin = std::min(margin, std::abs(sum / (double{params.top_p} * total) - 1.0));
    }
    kept.resize(count);
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

TEST(Candidates, AgreeWithTheDefinition) {
  const uint64_t seed = 7;
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  size_t compared_count = 0;
  for (int round = 0; round < 3000; ++round) {
    const size_t vocab = 1 + random.Below(random.Below(20) == 0 ? 5000 : 200);
    const double spread = random.Uniform() * 20;
    const bool has_ties = random.Below(2) == 0;
    std::vector<float> logits(vocab);
    for (float& logit : logits) {
      const double value = (random.Uniform() - 0.5) * spread;
      logit = static_cast<float>(has_ties ? std::round(value) : value);
      if (random.Below(10) == 0) logit = -std::numeric_limits<float>::infinity();
    }
    logits[random.Below(vocab)] = 1.0f;
    SamplingParams params;
    params.temperature = static_cast<float>(0.1 + random.Uniform() * 2);
    if (random.Below(2) == 0) params.top_k = static_cast<uint32_t>(1 + random.Below(vocab + 10));
    if (random.Below(2) == 0) params.top_p = static_cast<float>(0.01 + 0.98 * random.Uniform());
    if (random.Below(3) == 0) params.min_p = static_cast<float>(0.5 * random.Uniform());
    double margin = 0.0;
    const std::vector<TokenId> expected = SelectBySorting(logits, params, margin);
    if (margin < 1e-5) continue;
    ++compared_count;
    ASSERT_EQ(Select(logits, params), expected)
        << "round " << round << " temperature " << params.temperature << " top_k " << params.top_k
        << " top_p " << params.top_p << " min_p " << params.min_p;
  }
  EXPECT_GT(compared_count, 2500u);
}

TEST(Candidates, ALargeTopKAgreesWithTheDefinition) {
  std::vector<float> logits(9000);
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = static_cast<float>(RandomBits(5, i) % 97) * 0.01f;
  }
  SamplingParams params;
  for (const uint32_t k : {2047u, 2048u, 2049u, 5000u, 8999u}) {
    params.top_k = k;
    double margin = 0.0;
    EXPECT_EQ(Select(logits, params), SelectBySorting(logits, params, margin));
  }
}

TEST(Candidates, TiesGoToTheLowerId) {
  SamplingParams params;
  params.top_k = 2;
  EXPECT_THAT(Select({1, 5, 5, 5}, params), ElementsAre(1, 2));
  params.top_k = 0;
  params.top_p = 0.4f;  // of four equal ones two are needed
  EXPECT_THAT(Select({2, 2, 2, 2}, params), ElementsAre(0, 1));
}

TEST(Candidates, TheBestAlwaysStays) {
  SamplingParams params;
  params.min_p = 1.0f;
  EXPECT_THAT(Select({1, 3, 2}, params), ElementsAre(1));
  params.min_p = 0.0f;
  params.top_p = 1e-6f;
  EXPECT_THAT(Select({1, 3, 2}, params), ElementsAre(1));
  params.top_p = 1.0f;
  params.temperature = 1.1e-5f;
  EXPECT_THAT(Select({1, 3, 2}, params), ElementsAre(1));
}

TEST(Candidates, DrawWalksTheCumulativeDistribution) {
  const std::vector<Candidate> candidates = {{4, 1.0f}, {7, 2.0f}, {9, 1.0f}};
  EXPECT_EQ(Draw(candidates, 0.0), 4);
  EXPECT_EQ(Draw(candidates, 0.2499), 4);
  EXPECT_EQ(Draw(candidates, 0.25), 7);
  EXPECT_EQ(Draw(candidates, 0.7499), 7);
  EXPECT_EQ(Draw(candidates, 0.75), 9);
  EXPECT_EQ(Draw(candidates, 0.9999999999999999), 9);
}

}  // namespace
}  // namespace tessera::router
