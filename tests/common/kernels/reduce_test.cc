#include "common/kernels/reduce.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/common/kernels/kernel_fixture.h"

namespace tessera::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class ReduceTest : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() == Isa::kAvx2) TESSERA_NEEDS_AVX2();
  }
};

INSTANTIATE_TEST_SUITE_P(Levels, ReduceTest, ::testing::Values(Isa::kReference, Isa::kAvx2),
                         [](const auto& info) {
                           return info.param == Isa::kAvx2 ? "Avx2" : "Reference";
                         });

TEST_P(ReduceTest, ArgMaxFindsEveryPlace) {
  for (const size_t size : {1, 2, 7, 8, 9, 31, 33, 2047, 2048, 2049, 5000}) {
    std::vector<float> values(size, -3.0f);
    for (size_t i = 0; i < size; i += size < 100 ? 1 : 61) {
      values[i] = -2.0f;
      EXPECT_EQ(ArgMax(values, GetParam()), i) << "of " << size;
      values[i] = -3.0f;
    }
  }
}

TEST_P(ReduceTest, MaxOfPassesOverNaN) {
  EXPECT_EQ(MaxOf({}, GetParam()), -kInfinity);
  for (const size_t size : {1, 8, 31, 33, 100}) {
    std::vector<float> values(size, -kInfinity);
    EXPECT_EQ(MaxOf(values, GetParam()), -kInfinity);
    for (size_t i = 0; i < size; ++i) {
      values[i] = static_cast<float>(i);
      EXPECT_EQ(MaxOf(values, GetParam()), static_cast<float>(i)) << "of " << size;
      values[i] = kNaN;
      EXPECT_EQ(MaxOf(values, GetParam()), -kInfinity) << i << " of " << size;
    }
  }
}

TEST_P(ReduceTest, ArgMaxTiesAndNaN) {
  std::vector<float> values(4000, 1.0f);
  EXPECT_EQ(ArgMax(values, GetParam()), 0u);
  values[3000] = values[2100] = values[3999] = 2.0f;
  EXPECT_EQ(ArgMax(values, GetParam()), 2100u);
  values[2100] = kNaN;
  EXPECT_EQ(ArgMax(values, GetParam()), 3000u);
  std::fill(values.begin(), values.end(), kNaN);
  EXPECT_EQ(ArgMax(values, GetParam()), 0u);
  values[2500] = -kInfinity;
  EXPECT_EQ(ArgMax(values, GetParam()), 2500u);
  EXPECT_EQ(ArgMax(std::vector<float>{-0.0f, 0.0f}, GetParam()), 0u);
}

TEST_P(ReduceTest, AllFiniteSeesOneOddValueAnywhere) {
  EXPECT_TRUE(AllFinite({}, GetParam()));
  for (const size_t size : {1, 8, 31, 32, 33, 100}) {
    std::vector<float> values(size, std::numeric_limits<float>::max());
    EXPECT_TRUE(AllFinite(values, GetParam()));
    for (size_t i = 0; i < size; ++i) {
      for (const float odd : {kNaN, -kNaN, kInfinity, -kInfinity}) {
        values[i] = odd;
        EXPECT_FALSE(AllFinite(values, GetParam())) << i << " of " << size;
      }
      values[i] = -std::numeric_limits<float>::denorm_min();
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
