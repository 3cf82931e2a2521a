#include "services/router/sampling/row_math.h"

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

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kSizes[] = {1, 2, 15, 16, 17, 31, 33, 4095, 4096, 4097, 10000};

// Few distinct values, so that ties occur.
std::vector<float> RandomValues(size_t count, uint64_t seed) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    values[i] = static_cast<float>(RandomBits(seed, i) % 401) * 0.1f - 20.0f;
  }
  return values;
}

TEST(RowMath, FirstNonFiniteFindsEveryKindAnywhere) {
  for (const size_t size : kSizes) {
    std::vector<float> values = RandomValues(size, size);
    EXPECT_EQ(FirstNonFinite(values), size);
    for (const float bad : {kInfinity, -kInfinity, std::nanf("")}) {
      for (const size_t at : {size_t{0}, size / 2, size - 1}) {
        const float kept = std::exchange(values[at], bad);
        EXPECT_EQ(FirstNonFinite(values), at);
        values[at] = kept;
      }
    }
  }
}

TEST(RowMath, MaxArgMaxAndCountAgreeWithTheLibrary) {
  for (const size_t size : kSizes) {
    const std::vector<float> values = RandomValues(size, 1000 + size);
    const auto largest = std::max_element(values.begin(), values.end());
    EXPECT_EQ(MaxOf(values), *largest);
    EXPECT_EQ(ArgMax(values), static_cast<size_t>(largest - values.begin()));
    for (const float bound : {-20.0f, 0.0f, *largest}) {
      EXPECT_EQ(CountAbove(values, bound),
                static_cast<size_t>(std::count_if(values.begin(), values.end(),
                                                  [=](float v) { return v > bound; })));
    }
  }
  EXPECT_EQ(MaxOf({}), -kInfinity);
  EXPECT_EQ(MaxOf(std::vector<float>(40, -kInfinity)), -kInfinity);
}

TEST(RowMath, ExpIsAccurateAndEndsAtZero) {
  EXPECT_EQ(ExpNonPositive(0.0f), 1.0f);
  EXPECT_EQ(ExpNonPositive(-kInfinity), 0.0f);
  EXPECT_EQ(ExpNonPositive(-88.0f), 0.0f);
  double worst = 0.0;
  for (float x = 0.0f; x > -87.0f; x -= 0.000731f) {
    const double exact = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::abs(ExpNonPositive(x) - exact) / exact);
  }
  EXPECT_LT(worst, 3e-7);
}

TEST(RowMath, ExpShiftedSumsInDouble) {
  for (const size_t size : kSizes) {
    const std::vector<float> values = RandomValues(size, 2000 + size);
    const float max = MaxOf(values);
    double exact = 0.0;
    for (const float value : values) exact += std::exp((double{value} - double{max}) * 0.7);
    std::vector<float> out(size);
    const double sum = ExpShifted(values, max, 0.7f, out);
    // Each term: 3e-7 of the exponential, and 2e-6 of an argument of at most 40 * 0.7 rounded
    // twice.
    EXPECT_NEAR(sum, exact, 4e-6 * exact);
    EXPECT_EQ(sum, ExpShifted(values, max, 0.7f, {}));
    for (size_t i = 0; i < size; ++i) {
      EXPECT_EQ(out[i], ExpNonPositive((values[i] - max) * 0.7f));
    }
  }
}

TEST(RowMath, LargestIndicesAgreeWithASort) {
  for (const size_t size : kSizes) {
    const std::vector<float> values = RandomValues(size, 3000 + size);
    std::vector<uint32_t> order(size);
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return values[a] > values[b]; });
    for (const size_t count : {size_t{0}, size_t{1}, size_t{5}, size / 2, size, size + 3}) {
      const std::vector<uint32_t> expected(
          order.begin(), order.begin() + static_cast<long>(std::min(count, size)));
      EXPECT_EQ(LargestIndices(values, count), expected) << size << " " << count;
    }
  }
}

}  // namespace
}  // namespace tessera::router
