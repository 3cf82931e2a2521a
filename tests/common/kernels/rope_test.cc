#include "common/kernels/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/common/kernels/kernel_fixture.h"

namespace tessera::kernels {
namespace {

// Rotates (1, 0) in every pair: what comes out is (cos, sin).
Matrix Turns(const Compute& compute, size_t head_dim, std::span<const uint32_t> positions) {
  Matrix x(positions.size(), head_dim);
  for (size_t r = 0; r < positions.size(); ++r) {
    for (size_t i = 0; i < head_dim / 2; ++i) x.row(r)[i] = 1.0f;
  }
  Rope(head_dim, 10000.0).Apply(compute, positions, x.view());
  return x;
}

TEST(RopeTest, TurnsByTheFloatAngle) {
  std::vector<uint32_t> positions = {0, 1, 2, 3, 100, 4095, 131071, 262143, 524287, 524288, 600000};
  Random random(1);
  for (int i = 0; i < 4000; ++i) positions.push_back(static_cast<uint32_t>(random.Below(524288)));
  for (const Isa isa : {Isa::kReference, LocalIsa()}) {
    Machine machine(isa, 2);
    for (const size_t head_dim : {2, 16, 24, 128}) {
      const Matrix turns = Turns(machine.compute, head_dim, positions);
      for (size_t r = 0; r < positions.size(); ++r) {
        for (size_t i = 0; i < head_dim / 2; ++i) {
          const auto frequency = static_cast<float>(
              std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim)));
          const float angle = static_cast<float>(positions[r]) * frequency;
          ASSERT_NEAR(turns.row(r)[i], std::cos(static_cast<double>(angle)), 2e-7)
              << "position " << positions[r] << " dimension " << i;
          ASSERT_NEAR(turns.row(r)[i + head_dim / 2], std::sin(static_cast<double>(angle)), 2e-7);
        }
      }
    }
  }
}

TEST(RopeTest, FastIsTheReferenceOnEveryHead) {
  TESSERA_NEEDS_AVX2();
  Machine plain(Isa::kReference);
  Machine fast(Isa::kAvx2, 2);
  for (const size_t head_dim : {2, 6, 16, 24, 32, 128}) {
    for (const size_t rows : {1, 3, 17, 63, 65}) {
      const Rope rope(head_dim, 10000.0);
      std::vector<uint32_t> positions;
      for (size_t r = 0; r < rows; ++r) positions.push_back(static_cast<uint32_t>(r * 7919));
      const Matrix before = RandomMatrix(rows, 5 * head_dim, rows);
      Matrix want = before;
      Matrix got = before;
      rope.Apply(plain.compute, positions, want.view());
      rope.Apply(fast.compute, positions, got.view());
      for (size_t i = 0; i < want.values().size(); ++i) {
        ASSERT_NEAR(got.values()[i], want.values()[i], 1e-6);
      }
    }
  }
}

TEST(RopeTest, PositionZeroChangesNothing) {
  Machine machine(LocalIsa());
  const Matrix before = RandomMatrix(1, 48, 3);
  Matrix x = before;
  Rope(24, 10000.0).Apply(machine.compute, std::vector<uint32_t>{0}, x.view());
  EXPECT_TRUE(SameBits(x.values(), before.values()));
}

TEST(RopeTest, BitsDependOnTheRowAlone) {
  Machine one(LocalIsa(), 1);
  Machine two(LocalIsa(), 2);
  const Rope rope(128, 10000.0);
  std::vector<uint32_t> positions;
  for (uint32_t r = 0; r < 200; ++r) positions.push_back(5000 + r);
  const Matrix before = RandomMatrix(200, 512, 4);
  Matrix together = before;
  Matrix threaded = before;
  rope.Apply(one.compute, positions, together.view());
  rope.Apply(two.compute, positions, threaded.view());
  EXPECT_TRUE(SameBits(together.values(), threaded.values()));
  for (size_t r = 0; r < 200; r += 41) {
    Matrix alone = before;
    const MatrixView row = alone.view().Rows(r, 1);
    rope.Apply(one.compute, std::span(positions).subspan(r, 1), row);
    EXPECT_TRUE(SameBits(row.row(0), together.row(r)));
  }
}

}  // namespace
}  // namespace tessera::kernels
