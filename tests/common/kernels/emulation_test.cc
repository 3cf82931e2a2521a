// The emulated instructions against results worked out by hand, and what threads do with tiles.

#include <gtest/gtest.h>

#include <limits>

#include "common/kernels/matmul.h"
#include "common/kernels/swiglu.h"
#include "common/kernels/tiles_amx.h"
#include "tests/common/kernels/emulation/emulated_products.h"
#include "tests/common/kernels/emulation/emulated_tiles.h"
#include "tests/common/kernels/weights_for_tests.h"

namespace tessera::emulated {
namespace {

uint32_t Pair(float even, float odd) {
  return uint32_t{ToBF16(even).bits} | uint32_t{ToBF16(odd).bits} << 16;
}
__m512bh Pairs(uint32_t pair) {
  Lanes<uint32_t> lanes;
  lanes.fill(pair);
  return VectorOf<__m512bh>(lanes);
}
float DotOnce(float sum, uint32_t a, uint32_t b) {
  return LanesOf<float>(DotBf16(Set1F32(sum), Pairs(a), Pairs(b)))[5];
}

TEST(EmulatedVectorsTest, Bf16ProductsAddTheOddElementFirst) {
  const uint32_t big = Pair(4096, 4096);
  // 1 + 2^24 rounds to 2^24, and -2^24 leaves 0; the other way round 1 survives.
  EXPECT_EQ(DotOnce(1, Pair(-4096, 4096), big), 0.0f);
  EXPECT_EQ(DotOnce(1, Pair(4096, -4096), big), 1.0f);
}

TEST(EmulatedVectorsTest, Bf16ProductsFlushSubnormals) {
  EXPECT_EQ(DotOnce(0, Pair(0x1p-100f, 0), Pair(0x1p-30f, 0)), 0.0f);
  EXPECT_EQ(DotOnce(0, Pair(0x1p-130f, 0), Pair(0x1p20f, 0)), 0.0f);
  EXPECT_EQ(DotOnce(0x1p-127f, Pair(0, 0), Pair(0, 0)), 0.0f);
  EXPECT_EQ(DotOnce(0x1p-126f, Pair(0, 0), Pair(0, 0)), 0x1p-126f);
}

TEST(EmulatedVectorsTest, ByteProductsTakeUnsignedTimesSigned) {
  EXPECT_EQ(LanesOf<int32_t>(DotU8I8(Set1I32(7), Set1I8(-1), Set1I8(-128)))[15], 7 - 4 * 255 * 128);
}

TEST(EmulatedVectorsTest, FloatsBecomeBf16ToNearestEven) {
  const auto convert = [](float v) {
    return LanesOf<uint16_t>(TwoToBf16(Set1F32(0), Set1F32(v)))[0];
  };
  EXPECT_EQ(convert(1 + 0x1p-8f), 0x3f80);
  EXPECT_EQ(convert(1 + 0x3p-8f), 0x3f82);
  EXPECT_EQ(convert(-0x1p-127f), 0x8000);
  EXPECT_TRUE(std::isnan(Bf16Of(convert(std::numeric_limits<float>::quiet_NaN()), 0)));
  EXPECT_EQ(convert(std::numeric_limits<float>::infinity()), 0x7f80);
  EXPECT_EQ(LanesOf<uint16_t>(TwoToBf16(Set1F32(2), Set1F32(1)))[15], 0x3f80);
  EXPECT_EQ(LanesOf<uint16_t>(TwoToBf16(Set1F32(2), Set1F32(1)))[16], 0x4000);
}

TEST(EmulatedVectorsTest, LanesMoveAsTheManualSays) {
  const __m512i up = SetReversed(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  EXPECT_EQ(LanesOf<int32_t>(up)[3], 3);
  EXPECT_EQ(LanesOf<int32_t>(Set4(3, 2, 1, 0))[5], 1);
  EXPECT_EQ(LanesOf<float>(PermuteF32(Set1I32(16 + 9), ToF32(up)))[0], 9.0f);
  const Lanes<uint8_t> bytes = LanesOf<uint8_t>(MaskzPermuteI8(2, Set1I8(60), up));
  EXPECT_EQ(bytes[0], 0);
  EXPECT_EQ(bytes[1], 15);
  EXPECT_EQ(LanesOf<uint32_t>(InsertHalf(up, Low(up), 1))[9], 1u);
  EXPECT_EQ((std::bit_cast<std::array<uint16_t, 16>>(TruncateToI16(Set1I32(0x12345)))[4]), 0x2345);
  EXPECT_EQ((std::bit_cast<std::array<int8_t, 16>>(SaturateToI8(Set1I32(-300)))[4]), -128);
  EXPECT_EQ(ReduceAddI32(up), 120);
  EXPECT_EQ(ReduceAddF32(ToF32(up)), 120.0f);
}

// Tiles 0 [2, 3] += 1 [2, 2] times 2 [2, 3], as dwords.
kernels::amx::TileShapes SmallShapes() {
  kernels::amx::TileShapes shapes;
  shapes.Set(0, 2, 12);
  shapes.Set(1, 2, 8);
  shapes.Set(2, 2, 12);
  return shapes;
}

TEST(EmulatedTilesTest, Bf16ProductsSumEvenAndOddElementsApart) {
  kernels::amx::UseTileShapes(SmallShapes());
  const uint32_t a[2][2] = {{Pair(4096, -4096), Pair(1, 1)}, {Pair(1, 0), Pair(0, 2)}};
  const uint32_t b[2][3] = {{Pair(4096, 4096), 0, 0}, {0, Pair(3, 5), Pair(0, 7)}};
  float sum[2][3] = {{1, 1, 1}, {0, 0, 0}};
  TileLoad(0, sum, 12);
  TileLoad(1, a, 8);
  TileLoad(2, b, 12);
  TileDotBf16(0, 1, 2);
  TileStore(0, sum, 12);
  TilesRelease();
  EXPECT_EQ(sum[0][0], 1.0f);  // vdpbf16ps would give 0 or 1, by which element is negative
  EXPECT_EQ(sum[0][1], 1 + 3 + 5);
  EXPECT_EQ(sum[0][2], 1 + 7);
  EXPECT_EQ(sum[1][0], 4096.0f);
  EXPECT_EQ(sum[1][1], 10.0f);
  EXPECT_EQ(sum[1][2], 14.0f);
}

TEST(EmulatedTilesTest, ByteProductsAreSigned) {
  kernels::amx::UseTileShapes(SmallShapes());
  const uint32_t a[2][2] = {{0x80808080, 0}, {0, 0x01ff0203}};
  const uint32_t b[2][3] = {{0x80808080, 0, 0}, {0, 0x0504fd02, 0}};
  int32_t sum[2][3] = {};
  TileLoad(0, sum, 12);
  TileLoad(1, a, 8);
  TileLoad(2, b, 12);
  TileDotInt8(0, 1, 2);
  TileStore(0, sum, 12);
  TilesRelease();
  EXPECT_EQ(sum[0][0], 4 * 128 * 128);
  EXPECT_EQ(sum[1][1], 1 * 5 - 1 * 4 + 2 * -3 + 3 * 2);
  EXPECT_EQ(sum[0][1], 0);
}

TEST(EmulatedTilesDeathTest, WhatFaultsStopsTheProcess) {
  const std::byte bytes[1024] = {};
  EXPECT_DEATH(TileLoad(0, bytes, 64), "HasShapes");
  EXPECT_DEATH(
      {
        kernels::amx::TileShapes shapes = SmallShapes();
        shapes.Set(1, 3, 8);
        kernels::amx::UseTileShapes(shapes);
        TileDotInt8(0, 1, 2);
      },
      "lines");
  EXPECT_DEATH(LoadAligned<__m512i>(bytes + 1), "sizeof");
}

// Threads sleep between calls: none may keep its tiles.
TEST(EmulatedTilesTest, ThreadsGiveTheirTilesBack) {
  using namespace kernels;  // NOLINT: the test is about the kernels' threads
  ThreadPool pool(ThreadPoolConfig{.thread_count = 3});
  Scratch scratch;
  const StoredWeights stored = RandomWeights(DType::kBF16, 2000, 64, 1);
  const StoredWeights square = RandomWeights(DType::kBF16, 64, 64, 2);
  const Matrix x = RandomRows(20, 64, 3);
  Matrix y(20, 2000);
  Matrix out(20, 64);
  const std::vector<uint32_t> rows = {0, 3, 7, 7, 9, 12, 13, 14, 15, 19};
  const std::vector<float> row_weights(rows.size(), 0.5f);
  Matrix grouped(2 * rows.size(), 64);
  for (const WeightType type : {WeightType::kBF16, WeightType::kQ8, WeightType::kQ4}) {
    const WeightMatrix weights = PackOrDie(stored.view, type);
    SwiGluWeights network;
    network.gate_up = PackGateUpOrDie(square.view, square.view, type);
    network.down = PackOrDie(square.view, type);
    const Compute compute = {.pool = pool,
                             .features = TestedCpu(),
                             .isa = Isa::kAmx,
                             .arithmetic = Arithmetic::kFast,
                             .scratch = &scratch};
    const size_t before = TileAcquisitions();
    const MatMulTask task{.weights = &weights, .x = x.view(), .y = y.view()};
    MatMul(compute, {&task, 1});
    EXPECT_EQ(ThreadsWithTiles(), 0u);
    SwiGlu(compute, network, x.view(), out.view());
    EXPECT_EQ(ThreadsWithTiles(), 0u);
    const ExpertGroup group = {&network, rows, row_weights};
    const std::vector<ExpertGroup> groups = {group, group};
    GroupedSwiGlu(compute, groups, x.view(), grouped.view());
    EXPECT_EQ(ThreadsWithTiles(), 0u);
    EXPECT_GT(TileAcquisitions(), before + 3) << NameOf(type);
  }
}

}  // namespace
}  // namespace tessera::emulated
