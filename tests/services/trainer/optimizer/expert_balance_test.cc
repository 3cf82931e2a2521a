#include "services/trainer/optimizer/expert_balance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace tessera::trainer {
namespace {

using ::testing::Each;
using ::testing::FloatNear;

TEST(ExpertBalanceTest, SmebuByHand) {
  ExpertBalance balance(BalanceMethod::kSmebu, 0.5, 1, 4);
  // Mean 4: v = 1, 0.5, 0, -1.5.
  const std::vector<std::vector<uint32_t>> counts = {{0, 2, 4, 10}};
  const double s[] = {std::tanh(2.0), std::tanh(1.0), 0.0, std::tanh(-3.0)};
  const double mean = (s[0] + s[1] + s[2] + s[3]) / 4;
  balance.Update(0.02, counts);
  balance.Update(0.02, counts);
  for (size_t e = 0; e < 4; ++e) {
    const double d = 0.02 * (s[e] - mean);
    // m: d/2, then 3d/4.
    EXPECT_NEAR(balance.bias()[e], 1.25 * d, 1e-7);
    EXPECT_NEAR(balance.mutable_momentum()[e], 0.75 * d, 1e-7);
  }
}

TEST(ExpertBalanceTest, SmebuKeepsTheMeanOfTheBias) {
  ExpertBalance balance(BalanceMethod::kSmebu, 0.5, 2, 8);
  for (uint32_t step = 0; step < 20; ++step) {
    balance.Update(0.02, std::vector<std::vector<uint32_t>>{{1, 2, 3, 4, 5, 6, 7, 100 + step},
                                                            {0, 0, 0, 9, 9, 0, 0, 0}});
  }
  for (size_t layer = 0; layer < 2; ++layer) {
    const std::span<const float> bias = balance.bias().subspan(layer * 8, 8);
    EXPECT_NEAR(std::accumulate(bias.begin(), bias.end(), 0.0), 0.0, 1e-5);
  }
  EXPECT_GT(balance.bias()[0], 0);
  EXPECT_LT(balance.bias()[7], 0);
}

TEST(ExpertBalanceTest, SignMovesByTheRate) {
  ExpertBalance balance(BalanceMethod::kSign, 0.5, 1, 3);
  balance.Update(0.25, std::vector<std::vector<uint32_t>>{{1, 2, 3}});
  EXPECT_THAT(balance.bias(), ::testing::ElementsAre(0.25f, 0.0f, -0.25f));
}

TEST(ExpertBalanceTest, AuxAndNoneLeaveTheBias) {
  for (const BalanceMethod method : {BalanceMethod::kAux, BalanceMethod::kNone}) {
    ExpertBalance balance(method, 0.5, 1, 3);
    balance.Update(0.25, std::vector<std::vector<uint32_t>>{{1, 2, 3}});
    EXPECT_THAT(balance.bias(), Each(FloatNear(0.0f, 0.0f)));
  }
}

TEST(ExpertBalanceTest, NamesGoThereAndBack) {
  for (const char* name : {"smebu", "sign", "aux", "none"}) {
    const absl::StatusOr<BalanceMethod> method = ParseBalanceMethod(name);
    ASSERT_TRUE(method.ok());
    EXPECT_EQ(NameOf(*method), name);
  }
  EXPECT_EQ(ParseBalanceMethod("SMEBU").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(LoadFiguresTest, ByHand) {
  const std::vector<uint32_t> counts = {0, 2, 4, 10};
  const LoadFigures figures = FiguresOf(counts);
  EXPECT_DOUBLE_EQ(figures.mean_over_max, 0.4);
  EXPECT_DOUBLE_EQ(figures.max_violation, 1.5);
  EXPECT_DOUBLE_EQ(figures.jain, 256.0 / (4 * 120));
  EXPECT_EQ(figures.unused, 1u);
  EXPECT_EQ(FiguresOf(std::vector<uint32_t>(3)).unused, 3u);
}

}  // namespace
}  // namespace tessera::trainer
