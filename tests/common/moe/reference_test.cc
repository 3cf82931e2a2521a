#include "common/moe/reference.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace tessera {
namespace {

// gate = 2x0 + x1, up = x0 - x1, down = (3, -1): worked out by hand for x = (1, 0.5).
TEST(MoeReferenceTest, OneExpertByHand) {
  const std::array<float, 2> gate{2, 1}, up{1, -1}, down{3, -1}, x{1, 0.5f};
  const ExpertMatrices expert{{gate.data(), 1, 2}, {up.data(), 1, 2}, {down.data(), 2, 1}};
  std::array<double, 2> y{};
  ExpertReference(expert, x, y);
  const double inner = 2.5 / (1 + std::exp(-2.5)) * 0.5;
  EXPECT_NEAR(y[0], 3 * inner, 1e-12);
  EXPECT_NEAR(y[1], -inner, 1e-12);

  const std::array<uint32_t, 2> experts{0, 3};
  const std::array<float, 2> weights{0.25f, 0.5f};
  std::array<float, 2> out{7, 7};
  MoeReference({{x.data(), 1, 2}, {1, 2, experts, weights}}, [&](ExpertId) { return expert; },
               {out.data(), 1, 2});
  EXPECT_NEAR(out[0], 0.75 * 3 * inner, 1e-6);
}

}  // namespace
}  // namespace tessera
