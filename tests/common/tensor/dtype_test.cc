#include "common/tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "common/base/random.h"

namespace tessera {
namespace {

TEST(DTypeTest, NamesAreThoseOfSafetensors) {
  EXPECT_EQ(*ParseDType("BF16"), DType::kBF16);
  EXPECT_EQ(NameOf(DType::kF8E4M3), "F8_E4M3");
  EXPECT_EQ(ParseDType("F64").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(DTypeTest, EveryNarrowValueSurvivesTheRoundTrip) {
  for (uint32_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    if (!std::isnan(ToFloat(BF16{bits}))) {
      EXPECT_EQ(ToBF16(ToFloat(BF16{bits})).bits, bits);
    }
    if (!std::isnan(ToFloat(F16{bits}))) {
      EXPECT_EQ(ToF16(ToFloat(F16{bits})).bits, bits);
    }
  }
  for (uint32_t i = 0; i < 256; ++i) {
    const F8E4M3 value{static_cast<uint8_t>(i)};
    if (!std::isnan(ToFloat(value))) {
      EXPECT_EQ(ToF8E4M3(ToFloat(value)).bits, value.bits);
    }
  }
}

TEST(DTypeTest, RoundsToTheNearestAndTiesToEven) {
  EXPECT_EQ(ToBF16(1.0f + 0x1p-8f).bits, ToBF16(1.0f).bits);       // tie, even below
  EXPECT_EQ(ToFloat(ToBF16(1.0f + 3 * 0x1p-8f)), 1.0f + 0x1p-6f);  // tie, even above
  EXPECT_EQ(ToFloat(ToF16(1.0f + 0x1p-11f)), 1.0f);
  EXPECT_EQ(ToFloat(ToF16(65519.0f)), 65504.0f);
  EXPECT_TRUE(std::isinf(ToFloat(ToF16(65520.0f))));
  EXPECT_EQ(ToFloat(ToF16(0x1p-25f)), 0.0f);
  EXPECT_EQ(ToFloat(ToF8E4M3(17.0f)), 16.0f);
  EXPECT_EQ(ToFloat(ToF8E4M3(19.0f)), 20.0f);
  EXPECT_EQ(ToFloat(ToF8E4M3(1e9f)), 448.0f);
}

// The nearest of all representable neighbours, by search.
TEST(DTypeTest, F8AndF16AreNearestNeighbours) {
  Random random(3);
  for (int i = 0; i < 20000; ++i) {
    const auto value =
        static_cast<float>((random.Uniform() - 0.5) * std::exp2(random.Uniform() * 16 - 8));
    float best8 = std::numeric_limits<float>::max();
    for (uint32_t b = 0; b < 256; ++b) {
      const float candidate = ToFloat(F8E4M3{static_cast<uint8_t>(b)});
      if (!std::isnan(candidate)) best8 = std::min(best8, std::fabs(candidate - value));
    }
    EXPECT_EQ(std::fabs(ToFloat(ToF8E4M3(value)) - value), best8) << value;
    const uint16_t half = ToF16(value).bits;
    const float error = std::fabs(ToFloat(F16{half}) - value);
    EXPECT_LE(error, std::fabs(ToFloat(F16{static_cast<uint16_t>(half + 1)}) - value)) << value;
  }
}

}  // namespace
}  // namespace tessera
