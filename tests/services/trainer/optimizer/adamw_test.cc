#include "services/trainer/optimizer/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tessera::trainer {
namespace {

// Against the algorithm written down in float64.
TEST(AdamStepTest, FollowsItsDefinition) {
  const AdamOptions options = {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-3, .weight_decay = 0.1};
  std::vector<float> first(3), second(3), weights = {1.0f, -2.0f, 0.5f};
  std::vector<double> m(3), v(3), w = {1.0, -2.0, 0.5};
  for (uint64_t step = 1; step <= 5; ++step) {
    const auto s = static_cast<double>(step);
    const std::vector<float> gradient = {0.3f, -0.01f * static_cast<float>(step), 0.0f};
    AdamStep(options, 0.02, step, gradient, 0.5f, first, second, weights);
    for (size_t i = 0; i < 3; ++i) {
      const double g = 0.5 * static_cast<double>(gradient[i]);
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.95 * v[i] + 0.05 * g * g;
      const double mean = m[i] / (1 - std::pow(0.9, s)), square = v[i] / (1 - std::pow(0.95, s));
      w[i] = w[i] * (1 - 0.02 * 0.1) - 0.02 * mean / (std::sqrt(square) + 1e-3);
      EXPECT_NEAR(weights[i], w[i], 1e-6) << "step " << step;
    }
  }
}

}  // namespace
}  // namespace tessera::trainer
