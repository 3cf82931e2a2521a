#include "services/trainer/backward/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "common/base/random.h"
#include "services/trainer/backward/gemm_levels.h"
#include "tests/services/trainer/backward/bits.h"

namespace tessera::trainer {
namespace {

std::vector<float> Numbers(size_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> x(n);
  for (float& value : x) value = static_cast<float>(random.Uniform() - 0.5);
  return x;
}

struct Shape {
  size_t m, n, k;
};

// Every way in which operands may lie, against float64.
void ExpectRight(const Shape& s, bool a_transposed, bool b_panels, GemmMode mode) {
  const size_t a_stride = (a_transposed ? s.m : s.k) + 3, b_stride = s.n + 5, c_stride = s.n + 2;
  const std::vector<float> a = Numbers((a_transposed ? s.k : s.m) * a_stride, 1);
  const std::vector<float> b = Numbers(s.k * b_stride, 2);
  std::vector<float> c = Numbers(s.m * c_stride, 3);
  const std::vector<float> before = c;
  std::vector<float> panels(PanelSize(s.k, s.n));
  PackPanels(b.data(), b_stride, s.k, s.n, panels.data());
  Gemm(s.m, s.n, s.k, a_transposed ? Transposed(a.data(), a_stride) : Rows(a.data(), a_stride),
       b_panels ? Panels<float>(panels.data(), s.k) : RightRows(b.data(), b_stride), c.data(),
       c_stride, mode);
  for (size_t i = 0; i < s.m; ++i) {
    for (size_t j = 0; j < c_stride; ++j) {
      const size_t at = i * c_stride + j;
      if (j >= s.n) {
        ASSERT_EQ(c[at], before[at]) << "beyond the columns of C";
        continue;
      }
      double sum = mode == GemmMode::kAdd ? before[at] : 0.0;
      for (size_t l = 0; l < s.k; ++l) {
        const float left = a_transposed ? a[l * a_stride + i] : a[i * a_stride + l];
        sum += static_cast<double>(left) * b[l * b_stride + j];
      }
      ASSERT_NEAR(c[at], sum, 1e-5 * std::sqrt(static_cast<double>(s.k) + 1)) << i << ", " << j;
    }
  }
}

TEST(GemmTest, EveryLayoutAndRemainder) {
  for (const Shape& shape : {Shape{6, 16, 8}, Shape{1, 1, 1}, Shape{7, 17, 50}, Shape{100, 40, 33},
                             Shape{97, 130, 300}, Shape{16, 32, 128}, Shape{5, 3, 513}}) {
    for (const bool a_transposed : {false, true}) {
      for (const bool b_panels : {false, true}) {
        for (const GemmMode mode : {GemmMode::kSet, GemmMode::kAdd}) {
          SCOPED_TRACE(testing::Message() << shape.m << " " << shape.n << " " << shape.k << " "
                                          << a_transposed << b_panels);
          ExpectRight(shape, a_transposed, b_panels, mode);
        }
      }
    }
  }
}

// Products that are known to be symmetric, from both sides, against the same by Gemm.
TEST(GemmTest, ASymmetricProductIsThatOfGemm) {
  for (const size_t n : {5, 16, 32, 33, 64, 100, 128}) {
    for (const size_t k : {16, 128, 300}) {
      SCOPED_TRACE(testing::Message() << n << " " << k);
      const std::vector<float> x = Numbers(k * n, 6);
      std::vector<float> got(n * n, -1.0f), wanted(n * n);
      const GemmLeft<float> left = Transposed(x.data(), n);
      SymmetricGemm(n, k, left, RightRows(x.data(), n), got.data());
      Gemm(n, n, k, left, RightRows(x.data(), n), wanted.data(), n, GemmMode::kSet);
      for (size_t i = 0; i < n * n; ++i) ASSERT_NEAR(got[i], wanted[i], 1e-4) << i;
      // Its square: a matrix commutes with itself.
      std::vector<float> square(n * n, -1.0f);
      SymmetricGemm(n, n, Rows<float>(wanted.data(), n), RightRows<float>(wanted.data(), n),
                    square.data());
      for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < n; ++j) {
          double sum = 0;
          for (size_t l = 0; l < n; ++l) {
            sum += static_cast<double>(wanted[i * n + l]) * wanted[l * n + j];
          }
          ASSERT_NEAR(square[i * n + j], sum, 1e-3 + 1e-5 * std::abs(sum)) << i << ", " << j;
        }
      }
    }
  }
}

// Registers of any width add the same products in the same order.
TEST(GemmTest, Avx512GivesTheBitsOfAvx2) {
  if (!CpuHasAvx512()) GTEST_SKIP() << "this CPU lacks AVX-512";
  for (const size_t m : {1, 5, 11, 12, 13, 16, 32, 97, 109}) {
    for (const size_t n : {1, 15, 16, 17, 32, 40, 48, 128, 150}) {
      for (const size_t k : {1, 16, 33, 49, 128, 300}) {
        const std::vector<float> x = Numbers((m + 3) * (k + 3), 7), y = Numbers(k * (n + 5), 8);
        std::vector<float> panels(PanelSize(k, n));
        PackPanels(y.data(), n + 5, k, n, panels.data());
        for (const GemmLeft<float> a : {Rows(x.data(), k + 3), Transposed(x.data(), m + 3)}) {
          for (const GemmRight<float> b :
               {RightRows(y.data(), n + 5), Panels<float>(panels.data(), k)}) {
            for (const GemmMode mode : {GemmMode::kSet, GemmMode::kAdd}) {
              std::vector<float> wanted = Numbers(m * (n + 2), 9), got = wanted;
              GemmAvx2(m, n, k, a, b, wanted.data(), n + 2, mode);
              GemmAvx512(m, n, k, a, b, got.data(), n + 2, mode);
              ASSERT_EQ(BitsOf(got), BitsOf(wanted)) << m << " " << n << " " << k;
            }
          }
        }
      }
    }
  }
}

TEST(GemmTest, Avx512GivesTheBitsOfAvx2ForSymmetricProducts) {
  if (!CpuHasAvx512()) GTEST_SKIP() << "this CPU lacks AVX-512";
  for (const size_t n : {5, 16, 32, 33, 100, 128}) {
    for (const size_t k : {16, 128, 300}) {
      const std::vector<float> x = Numbers(k * n, 10);
      for (const GemmLeft<float> a : {Transposed(x.data(), n), Rows(x.data(), k)}) {
        std::vector<float> wanted(n * n), got(n * n);
        SymmetricGemmAvx2(n, k, a, RightRows(x.data(), n), wanted.data());
        SymmetricGemmAvx512(n, k, a, RightRows(x.data(), n), got.data());
        ASSERT_EQ(BitsOf(got), BitsOf(wanted)) << n << " " << k;
      }
    }
  }
}

TEST(GemmTest, NothingToAddSetsZero) {
  std::vector<float> c(12, 1.0f);
  const float unused = 0;
  Gemm(3, 4, 0, Rows(&unused, 0), RightRows(&unused, 4), c.data(), 4, GemmMode::kSet);
  EXPECT_EQ(c, std::vector<float>(12, 0.0f));
}

TEST(GemmTest, PanelsOfTheTransposeAreThoseOfTheMatrix) {
  for (const size_t rows : {8, 21, 128}) {
    for (const size_t cols : {16, 5, 48, 70}) {
      const std::vector<float> x = Numbers(rows * cols, 4);
      std::vector<float> turned(rows * cols);
      for (size_t r = 0; r < rows; ++r) {
        for (size_t j = 0; j < cols; ++j) turned[j * rows + r] = x[r * cols + j];
      }
      std::vector<float> panels(PanelSize(rows, cols)), from_turned(PanelSize(rows, cols), -1.0f);
      PackPanels(x.data(), cols, rows, cols, panels.data());
      PackPanelsTransposed(turned.data(), rows, rows, cols, from_turned.data());
      EXPECT_EQ(panels, from_turned);
    }
  }
}

}  // namespace
}  // namespace tessera::trainer
