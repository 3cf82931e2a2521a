#include "common/kernels/rms_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/common/kernels/kernel_fixture.h"

namespace tessera::kernels {
namespace {

constexpr float kEps = 1e-5f;

double Wanted(std::span<const float> row, float weight, size_t i) {
  double sum = 0;
  for (const float v : row) sum += static_cast<double>(v) * v;
  return row[i] / std::sqrt(sum / static_cast<double>(row.size()) + kEps) * weight;
}

// Three roundings of the product, and half the relative error of the sum of squares.
void ExpectNear(float got, double want) {
  EXPECT_LE(std::fabs(got - want), 1e-6 * std::fabs(want) + 1e-30) << got << " for " << want;
}

void CheckAgainstFormula(const Compute& compute) {
  for (const size_t cols : {1, 3, 8, 17, 31, 64, 65, 128, 1024, 3072}) {
    for (const size_t rows : {1, 3, 17, 65}) {
      const Matrix x = RandomMatrix(rows, cols, 100 * rows + cols, 30.0);
      const Matrix weight = RandomMatrix(1, cols, cols, 2.0);
      Matrix out(rows, cols);
      RmsNorm(compute, x.view(), weight.row(0), kEps, out.view());
      for (size_t r = 0; r < rows; ++r) {
        ExpectNear(out.row(r)[0], Wanted(x.row(r), weight.row(0)[0], 0));
        ExpectNear(out.row(r)[cols - 1], Wanted(x.row(r), weight.row(0)[cols - 1], cols - 1));
        ExpectNear(out.row(r)[cols / 2], Wanted(x.row(r), weight.row(0)[cols / 2], cols / 2));
      }
    }
  }
}

TEST(RmsNormTest, ReferenceIsTheFormula) {
  Machine machine(Isa::kReference);
  CheckAgainstFormula(machine.compute);
}

TEST(RmsNormTest, FastIsTheFormula) {
  TESSERA_NEEDS_AVX2();
  Machine machine(Isa::kAvx2, 2);
  CheckAgainstFormula(machine.compute);
}

TEST(RmsNormTest, AddsToTheResidual) {
  for (const Isa isa : {Isa::kReference, LocalIsa()}) {
    Machine machine(isa);
    for (const size_t cols : {5, 64, 100}) {
      const Matrix x = RandomMatrix(3, cols, 1);
      const Matrix weight = RandomMatrix(1, cols, 2);
      const Matrix before = RandomMatrix(3, cols, 3);
      Matrix normed(3, cols);
      Matrix hidden = before;
      RmsNorm(machine.compute, x.view(), weight.row(0), kEps, normed.view());
      AddRmsNorm(machine.compute, x.view(), weight.row(0), kEps, hidden.view());
      for (size_t i = 0; i < hidden.values().size(); ++i) {
        EXPECT_EQ(hidden.values()[i], before.values()[i] + normed.values()[i]);
      }
    }
  }
}

TEST(RmsNormTest, EachHeadApartAndInPlace) {
  for (const Isa isa : {Isa::kReference, LocalIsa()}) {
    Machine machine(isa);
    for (const size_t head_dim : {2, 24, 128}) {
      const Matrix weight = RandomMatrix(1, head_dim, 5);
      const Matrix before = RandomMatrix(4, 3 * head_dim, 6);
      Matrix x = before;
      RmsNormHeads(machine.compute, x.view(), weight.row(0), kEps);
      for (size_t head = 0; head < 3; ++head) {
        Matrix alone(4, head_dim);
        RmsNorm(machine.compute, before.view().Cols(head * head_dim, head_dim), weight.row(0), kEps,
                alone.view());
        for (size_t r = 0; r < 4; ++r) {
          EXPECT_TRUE(SameBits(alone.row(r), x.row(r).subspan(head * head_dim, head_dim)));
        }
      }
    }
  }
}

TEST(RmsNormTest, BitsDependOnTheRowAlone) {
  Machine one(LocalIsa(), 1);
  Machine two(LocalIsa(), 2);
  const Matrix x = RandomMatrix(300, 515, 7);  // enough for a parallel region
  const Matrix weight = RandomMatrix(1, 515, 8);
  Matrix together(300, 515);
  Matrix threaded(300, 515);
  RmsNorm(one.compute, x.view(), weight.row(0), kEps, together.view());
  RmsNorm(two.compute, x.view(), weight.row(0), kEps, threaded.view());
  EXPECT_TRUE(SameBits(together.values(), threaded.values()));
  for (size_t r = 0; r < 300; r += 37) {
    Matrix alone(1, 515);
    RmsNorm(one.compute, x.view().Rows(r, 1), weight.row(0), kEps, alone.view());
    EXPECT_TRUE(SameBits(alone.row(0), together.row(r)));
  }
}

}  // namespace
}  // namespace tessera::kernels
