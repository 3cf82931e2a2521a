#include "services/trainer/run/operations.h"

#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace tessera::trainer {
namespace {

TEST(OperationsTest, AreThoseOfTheWeightsThatWorkOnAToken) {
  const ModelSpec spec = testing::TinySpec();
  const ParameterLayout layout = *ParameterLayout::Of(spec);
  // Of each matrix one, of the experts' as many as a token has.
  double weights = 0;
  for (const Parameter& parameter : layout.parameters) {
    if (parameter.kind == ParameterKind::kNorm || parameter.kind == ParameterKind::kEmbedding ||
        parameter.kind == ParameterKind::kHead) {
      continue;
    }
    const bool expert = parameter.kind == ParameterKind::kExpert;
    weights += static_cast<double>(parameter.size() * (expert ? spec.top_k : parameter.count));
    // Two thirds of the work go back, where only the chosen rows of a router matter.
    if (parameter.kind != ParameterKind::kRouter) continue;
    weights -= 2.0 / 3 * static_cast<double>((spec.expert_count - spec.top_k) * spec.d_model);
  }
  const MuonOptions muon;
  EXPECT_NEAR(OperationsOf(layout, muon, 100, 0).products, 600 * weights, 1e-6 * weights);
  EXPECT_NEAR(OperationsOf(layout, muon, 100, 30).products,
              600 * weights + 180.0 * static_cast<double>(spec.vocab * spec.d_model),
              1e-6 * weights);
  EXPECT_GT(OperationsOf(layout, muon, 0, 0).muon, 0);
  EXPECT_EQ(OperationsOf(layout, {.iterations = 0}, 0, 0).sum(), 0);
}

// By hand: a long matrix goes through the short side but for the first and the last product; all
// but the last of an iteration are symmetric.
TEST(OperationsTest, MuonsIterations) {
  EXPECT_DOUBLE_EQ(OrthogonalizeFlops(8, 8, 2), 2 * ((1 + 2) * 8 * 8 * 8 + 8 * 8 * 8));
  EXPECT_DOUBLE_EQ(OrthogonalizeFlops(40, 8, 1), (1 + 2) * 40 * 8 * 8 + 8 * 8 * 8);
  EXPECT_DOUBLE_EQ(OrthogonalizeFlops(8, 40, 3), (1 + 2) * 40 * 8 * 8 + 9 * 8 * 8 * 8);
}

}  // namespace
}  // namespace tessera::trainer
