#include "common/kernels/weight_matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "common/base/random.h"
#include "common/kernels/weight_layout.h"
#include "common/kernels/weight_pack.h"
#include "common/tensor/dtype.h"

namespace tessera::kernels {
namespace {

using ::testing::HasSubstr;

constexpr WeightType kTypes[] = {WeightType::kF32, WeightType::kBF16, WeightType::kQ8,
                                 WeightType::kQ4};

// A stored tensor and its view.
struct Stored {
  std::vector<std::byte> bytes;
  TensorView view;
};

Stored MakeStored(DType dtype, size_t rows, size_t cols, uint64_t seed) {
  Stored stored;
  stored.bytes.resize(rows * cols * SizeOf(dtype));
  Random random(seed);
  for (size_t i = 0; i < rows * cols; ++i) {
    // Magnitudes from 2^-8 to 1, both signs, a few zeros.
    float value = static_cast<float>((random.Uniform() * 2 - 1) * std::exp2(-8 * random.Uniform()));
    if (random.Below(16) == 0) value = 0;
    std::byte* p = stored.bytes.data() + i * SizeOf(dtype);
    const BF16 bf16 = ToBF16(value);
    const F16 f16 = ToF16(value);
    const F8E4M3 f8 = ToF8E4M3(value);
    if (dtype == DType::kF32) std::memcpy(p, &value, sizeof(value));
    if (dtype == DType::kBF16) std::memcpy(p, &bf16, sizeof(bf16));
    if (dtype == DType::kF16) std::memcpy(p, &f16, sizeof(f16));
    if (dtype == DType::kF8E4M3) std::memcpy(p, &f8, sizeof(f8));
  }
  stored.view = {.data = stored.bytes.data(), .dtype = dtype, .rows = rows, .cols = cols};
  return stored;
}

std::vector<float> SourceRow(const TensorView& view, size_t row) {
  std::vector<float> out(view.cols);
  ReadRow(view, row, out);
  return out;
}

std::vector<float> PackedRow(const WeightMatrix& matrix, size_t row) {
  std::vector<float> out(matrix.inputs());
  matrix.ReadRow(row, out);
  return out;
}

// How far a packed weight may lie from its source, given the largest magnitude of its block.
//   q8: the step is s = F16(absmax / 127) <= absmax / 127 * (1 + 2^-11); rounding costs s / 2.
//       The largest weight is at most 127 * (1 + 2^-11) = 127.06 steps, so the limit of 127 costs
//       less than that. 1.001 covers the roundings of the division and the product.
//   q4: the step is s <= absmax / 8 * (1 + 2^-11). The range is -8 .. 7 steps, so a weight of
//       the extreme's opposite sign may lie a whole step (and 8 * 2^-11 of one) beyond it.
float Tolerance(WeightType type, float source, float absmax) {
  switch (type) {
    case WeightType::kF32:
      return 0;
    case WeightType::kBF16:
      return std::fabs(source) * 0x1p-8f;
    case WeightType::kQ8:
      return absmax / 127 * 0.5f * 1.001f;
    case WeightType::kQ4:
      return absmax / 8 * 1.005f;
  }
  return 0;
}

void ExpectRowClose(WeightType type, const std::vector<float>& source,
                    const std::vector<float>& packed) {
  for (size_t k = 0; k < source.size(); ++k) {
    float absmax = 0;
    const size_t begin = k / kBlockInputs * kBlockInputs;
    for (size_t i = begin; i < std::min(begin + kBlockInputs, source.size()); ++i) {
      absmax = std::max(absmax, std::fabs(source[i]));
    }
    ASSERT_LE(std::fabs(source[k] - packed[k]), Tolerance(type, source[k], absmax))
        << NameOf(type) << " k " << k << " source " << source[k] << " packed " << packed[k];
  }
}

TEST(WeightMatrixTest, PackedRowsReadBackWithinTheStepOfTheirType) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kF8E4M3}) {
    for (const auto& [rows, cols] :
         std::vector<std::pair<size_t, size_t>>{{1, 1}, {3, 17}, {32, 32}, {33, 31}, {65, 100}}) {
      const Stored stored = MakeStored(dtype, rows, cols, rows * 1000 + cols);
      for (const WeightType type : kTypes) {
        const auto matrix = WeightMatrix::Pack(stored.view, type);
        ASSERT_TRUE(matrix.ok()) << matrix.status();
        EXPECT_EQ(matrix->outputs(), rows);
        EXPECT_EQ(matrix->inputs(), cols);
        EXPECT_EQ(matrix->size_bytes(), WeightMatrix::PackedBytes(type, rows, cols));
        for (size_t r = 0; r < rows; ++r) {
          ExpectRowClose(type, SourceRow(stored.view, r), PackedRow(*matrix, r));
        }
      }
    }
  }
}

TEST(WeightMatrixTest, BF16SourceInBF16IsExact) {
  const Stored stored = MakeStored(DType::kBF16, 40, 70, 5);
  const auto matrix = WeightMatrix::Pack(stored.view, WeightType::kBF16);
  ASSERT_TRUE(matrix.ok());
  for (size_t r = 0; r < 40; ++r) EXPECT_EQ(PackedRow(*matrix, r), SourceRow(stored.view, r));
}

TEST(WeightMatrixTest, TheExtremeOfAQ4BlockIsMinusEightSteps) {
  std::vector<float> weights(32, 0.25f);
  weights[7] = -2.0f;
  const TensorView view{
      .data = reinterpret_cast<const std::byte*>(weights.data()), .rows = 1, .cols = 32};
  const auto matrix = WeightMatrix::Pack(view, WeightType::kQ4);
  ASSERT_TRUE(matrix.ok());
  EXPECT_EQ(PackedRow(*matrix, 0), weights);  // the step is 0.25
}

TEST(WeightMatrixTest, BytesLieAsTheLayoutSays) {
  const Stored stored = MakeStored(DType::kF32, 64, 96, 11);
  constexpr size_t kOutput = 53;  // panel 1, tile 1, column 5
  constexpr size_t kInput = 75;   // block 2, k 11 within it
  for (const WeightType type : kTypes) {
    const auto matrix = WeightMatrix::Pack(stored.view, type);
    ASSERT_TRUE(matrix.ok());
    const std::byte* block = matrix->data() + PanelBytes(type, 96) + 2 * BlockBytes(type);
    const std::byte* tile = block + TileOffset(type, 1);
    const float expected = PackedRow(*matrix, kOutput)[kInput];
    F16 half;
    std::memcpy(&half, block + 21 * 2, 2);
    float f32;
    BF16 bf16;
    switch (type) {
      case WeightType::kF32:
        std::memcpy(&f32, tile + 11 * 64 + 5 * 4, 4);
        EXPECT_EQ(f32, expected);
        break;
      case WeightType::kBF16:
        std::memcpy(&bf16, tile + 5 * 64 + 5 * 4 + 2, 2);
        EXPECT_EQ(ToFloat(bf16), expected);
        break;
      case WeightType::kQ8:
        EXPECT_EQ(ToFloat(half) * static_cast<int8_t>(tile[2 * 64 + 5 * 4 + 3]), expected);
        break;
      case WeightType::kQ4:
        EXPECT_EQ(ToFloat(half) * (static_cast<int>(tile[2 * 64 + 5 * 4 + 3] & std::byte{15}) - 8),
                  expected);
        break;
    }
  }
}

TEST(WeightMatrixTest, GateUpIsWovenByPanels) {
  for (const size_t width : {1u, 16u, 37u}) {
    const Stored gate = MakeStored(DType::kBF16, width, 50, width);
    const Stored up = MakeStored(DType::kBF16, width, 50, width + 100);
    const auto woven = WeightMatrix::PackGateUp(gate.view, up.view, WeightType::kBF16);
    ASSERT_TRUE(woven.ok());
    EXPECT_TRUE(woven->is_gate_up());
    const size_t padded = (width + 15) / 16 * 16;
    ASSERT_EQ(woven->outputs(), 2 * padded);
    EXPECT_EQ(woven->size_bytes(), WeightMatrix::PackedGateUpBytes(WeightType::kBF16, width, 50));
    for (size_t r = 0; r < padded; ++r) {
      const std::vector<float> zeros(50);
      EXPECT_EQ(PackedRow(*woven, r), r < width ? SourceRow(gate.view, r) : zeros);
      EXPECT_EQ(PackedRow(*woven, padded + r), r < width ? SourceRow(up.view, r) : zeros);
    }
  }
}

TEST(WeightMatrixTest, BlockScalesAreAppliedBeforePacking) {
  Stored stored = MakeStored(DType::kF8E4M3, 40, 40, 3);
  const std::vector<float> scales = {2.0f, 0.5f, 3.0f, 1.5f};
  stored.view.scales = {.data = reinterpret_cast<const std::byte*>(scales.data()),
                        .block_rows = 32,
                        .block_cols = 32};
  const auto matrix = WeightMatrix::Pack(stored.view, WeightType::kF32);
  ASSERT_TRUE(matrix.ok());
  for (size_t r = 0; r < 40; ++r) EXPECT_EQ(PackedRow(*matrix, r), SourceRow(stored.view, r));
}

TEST(WeightMatrixTest, BorrowedRowsStayWhereTheyAre) {
  const Stored stored = MakeStored(DType::kBF16, 5, 9, 1);
  const auto matrix = WeightMatrix::Borrow(stored.view);
  ASSERT_TRUE(matrix.ok());
  EXPECT_EQ(matrix->data(), stored.bytes.data());
  EXPECT_EQ(matrix->layout(), WeightLayout::kRows);
  EXPECT_EQ(PackedRow(*matrix, 4), SourceRow(stored.view, 4));
  EXPECT_EQ(WeightMatrix::Borrow(MakeStored(DType::kF16, 2, 2, 1).view).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(WeightMatrixTest, NonFiniteWeightsAreNamedByRowAndColumn) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    for (const size_t col : {0u, 40u, 65u}) {
      for (const bool narrow : {false, true}) {
        Stored stored = MakeStored(narrow ? DType::kBF16 : DType::kF32, 50, 66, 9);
        const BF16 bits = ToBF16(bad);
        const size_t index = 37 * 66 + col;
        if (narrow) std::memcpy(stored.bytes.data() + index * 2, &bits, 2);
        if (!narrow) std::memcpy(stored.bytes.data() + index * 4, &bad, 4);
        for (const WeightType type : kTypes) {
          const absl::Status status = WeightMatrix::Pack(stored.view, type).status();
          EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
          EXPECT_THAT(std::string(status.message()),
                      HasSubstr("row 37, column " + std::to_string(col)));
        }
      }
    }
  }
}

TEST(WeightMatrixTest, WeightsBeyondBF16AreRefusedInBF16Only) {
  const std::vector<float> weights = {1.0f, std::numeric_limits<float>::max()};
  const TensorView view{
      .data = reinterpret_cast<const std::byte*>(weights.data()), .rows = 1, .cols = 2};
  EXPECT_EQ(WeightMatrix::Pack(view, WeightType::kBF16).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_TRUE(WeightMatrix::Pack(view, WeightType::kF32).ok());
  EXPECT_TRUE(WeightMatrix::Pack(view, WeightType::kQ8).ok());
}

TEST(WeightMatrixTest, NonFiniteGateOrUpSaysWhich) {
  const Stored good = MakeStored(DType::kBF16, 20, 20, 1);
  Stored bad = MakeStored(DType::kBF16, 20, 20, 2);
  bad.bytes[2 * (17 * 20 + 3) + 1] = std::byte{0x7f};
  bad.bytes[2 * (17 * 20 + 3)] = std::byte{0xc0};
  EXPECT_THAT(
      std::string(
          WeightMatrix::PackGateUp(good.view, bad.view, WeightType::kQ8).status().message()),
      HasSubstr("up projection: the weight at row 17, column 3"));
  EXPECT_THAT(
      std::string(
          WeightMatrix::PackGateUp(bad.view, good.view, WeightType::kQ8).status().message()),
      HasSubstr("gate projection: the weight at row 17, column 3"));
}

TEST(WeightMatrixTest, ShapesAndTargetsAreChecked) {
  const Stored a = MakeStored(DType::kBF16, 20, 20, 1);
  const Stored b = MakeStored(DType::kBF16, 20, 21, 1);
  EXPECT_EQ(WeightMatrix::PackGateUp(a.view, b.view, WeightType::kBF16).status().code(),
            absl::StatusCode::kInvalidArgument);
  TensorView integers = a.view;
  integers.dtype = DType::kU8;
  EXPECT_EQ(WeightMatrix::Pack(integers, WeightType::kBF16).status().code(),
            absl::StatusCode::kInvalidArgument);
  TensorView none = a.view;
  none.rows = 0;
  EXPECT_EQ(WeightMatrix::Pack(none, WeightType::kBF16).status().code(),
            absl::StatusCode::kInvalidArgument);
  alignas(64) std::byte small[64];
  EXPECT_EQ(WeightMatrix::PackInto(a.view, WeightType::kBF16, small).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(WeightPackTest, BothWaysGiveTheSameBytes) {
  if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "this CPU has no AVX2";
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const size_t inputs : {1u, 31u, 64u, 100u, 256u}) {
      Stored stored = MakeStored(dtype, kPanelOutputs, inputs, inputs);
      if (dtype == DType::kF32 && inputs >= 64) {
        // Scales below, at the foot of and beyond the range of F16.
        auto* weights = reinterpret_cast<float*>(stored.bytes.data());
        for (size_t k = 0; k < inputs; ++k) weights[inputs + k] *= 0x1p-20f;
        for (size_t k = 0; k < inputs; ++k) weights[2 * inputs + k] *= 0x1p-40f;
        for (size_t k = 0; k < inputs; ++k) weights[3 * inputs + k] *= 0x1p+100f;
      }
      PanelSource source{.inputs = inputs, .is_bf16 = dtype == DType::kBF16};
      for (size_t n = 0; n < kPanelOutputs; ++n) {
        source.rows[n] = stored.bytes.data() + n * inputs * SizeOf(dtype);
      }
      for (const WeightType type : kTypes) {
        auto slow = *AlignedBuffer::Allocate(PanelBytes(type, inputs));
        auto fast = *AlignedBuffer::Allocate(PanelBytes(type, inputs));
        ASSERT_TRUE(PackPanelReference(source, type, slow.data()));
        ASSERT_TRUE(PackPanelAvx2(source, type, fast.data()));
        EXPECT_EQ(std::memcmp(slow.data(), fast.data(), slow.size_bytes()), 0)
            << NameOf(type) << " inputs " << inputs << " from " << NameOf(dtype);
      }
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
