#include "common/base/random.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(RandomTest, DependsOnSeedAndCounterOnly) {
  Random a(7), b(7), c(8);
  for (uint64_t i = 0; i < 100; ++i) {
    const uint64_t bits = a.Bits();
    EXPECT_EQ(bits, b.Bits());
    EXPECT_EQ(bits, RandomBits(7, i));
    EXPECT_NE(bits, c.Bits());
  }
}

TEST(RandomTest, UniformFillsTheUnitIntervalEvenly) {
  constexpr int kDraws = 100000;
  int buckets[10] = {};
  Random random(1);
  for (int i = 0; i < kDraws; ++i) {
    const double value = random.Uniform();
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    ++buckets[static_cast<int>(value * 10)];
  }
  // Standard deviation of a bucket: sqrt(n p (1-p)) = 95; six of them.
  for (int count : buckets) EXPECT_NEAR(count, kDraws / 10.0, 570);
}

}  // namespace
}  // namespace tessera
