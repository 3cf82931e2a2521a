#include "common/kernels/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "common/kernels/weight_layout.h"
#include "tests/common/kernels/weights_for_tests.h"

namespace tessera::kernels {
namespace {

constexpr size_t kOddSizes[] = {1, 3, 17, 32, 63, 65, 100};
constexpr size_t kRowCounts[] = {1, 2, 5, 6, 7, 16, 33};
constexpr WeightType kTypes[] = {WeightType::kF32, WeightType::kBF16, WeightType::kQ8,
                                 WeightType::kQ4};

// One way of storing weights and computing with them.
struct Case {
  Level level;
  WeightType type = WeightType::kF32;
  WeightLayout layout = WeightLayout::kPanels;
  Arithmetic arithmetic = Arithmetic::kFloat32;
  bool batch_invariant = true;
};

std::string ToString(const Case& c) {
  return c.level.Name() + " " + std::string(NameOf(c.type)) +
         (c.layout == WeightLayout::kRows ? " rows" : " panels") +
         (c.arithmetic == Arithmetic::kFast ? " fast" : " float32") +
         (c.batch_invariant ? "" : " variant");
}

std::vector<Case> CasesOf(const Level& level) {
  std::vector<Case> cases;
  for (const Arithmetic arithmetic : {Arithmetic::kFloat32, Arithmetic::kFast}) {
    for (const WeightType type : kTypes) {
      cases.push_back({level, type, WeightLayout::kPanels, arithmetic});
      if (!IsQuantised(type)) cases.push_back({level, type, WeightLayout::kRows, arithmetic});
    }
  }
  return cases;
}

// Levels this CPU lacks are skipped, and said to be.
class MatMulTest : public ::testing::TestWithParam<Level> {
 protected:
  void SetUp() override {
    if (!GetParam().Present()) {
      GTEST_SKIP() << "this CPU lacks " << GetParam().Name() << ": tested by emulation only";
    }
  }
  std::vector<Case> AllCases() const { return CasesOf(GetParam()); }
  Compute ComputeOf(const Case& c) {
    return {.pool = pool_,
            .features = c.level.Features(),
            .isa = c.level.isa,
            .arithmetic = c.arithmetic,
            .batch_invariant = c.batch_invariant,
            .scratch = &scratch_};
  }
  static WeightMatrix Weights(const Case& c, const StoredWeights& stored) {
    return c.layout == WeightLayout::kRows ? BorrowOrDie(stored.view)
                                           : PackOrDie(stored.view, c.type);
  }
  static StoredWeights Stored(const Case& c, size_t outputs, size_t inputs, uint64_t seed) {
    return RandomWeights(c.type == WeightType::kF32 ? DType::kF32 : DType::kBF16, outputs, inputs,
                         seed);
  }
  static Matrix Run(const Compute& compute, const WeightMatrix& weights, ConstMatrixView x) {
    Matrix y(x.rows(), weights.outputs());
    y.Fill(std::numeric_limits<float>::quiet_NaN());
    const MatMulTask task{.weights = &weights, .x = x, .y = y.view()};
    MatMul(compute, {&task, 1});
    return y;
  }

  ThreadPool pool_{ThreadPoolConfig{.thread_count = 3}};
  Scratch scratch_;
};

void ExpectClose(const Case& c, const WeightMatrix& weights, const Matrix& x, const Matrix& y,
                 const Matrix& exact) {
  std::vector<float> w(weights.inputs());
  for (size_t n = 0; n < weights.outputs(); ++n) {
    weights.ReadRow(n, w);
    for (size_t r = 0; r < x.rows(); ++r) {
      const double difference = std::fabs(static_cast<double>(y.view().row(r)[n]) -
                                          static_cast<double>(exact.view().row(r)[n]));
      // Written so that NaN fails.
      ASSERT_TRUE(difference <=
                  ProductTolerance(c.level, c.arithmetic, weights, w, x.row(r), c.batch_invariant))
          << ToString(c) << ": row " << r << " of " << x.rows() << ", output " << n << " of "
          << weights.outputs() << ", inputs " << weights.inputs() << ": " << y.view().row(r)[n]
          << " for " << exact.view().row(r)[n];
    }
  }
}

TEST_P(MatMulTest, EqualsTheReferenceForOddSizes) {
  for (const Case& c : AllCases()) {
    for (const size_t outputs : kOddSizes) {
      for (const size_t inputs : kOddSizes) {
        const StoredWeights stored = Stored(c, outputs, inputs, outputs * 131 + inputs);
        const WeightMatrix weights = Weights(c, stored);
        for (const size_t rows : {size_t{1}, size_t{4}, size_t{13}}) {
          const Matrix x = RandomRows(rows, inputs, rows);
          Compute reference = ComputeOf(c);
          reference.isa = Isa::kReference;
          ExpectClose(c, weights, x, Run(ComputeOf(c), weights, x.view()),
                      Run(reference, weights, x.view()));
        }
      }
    }
  }
}

TEST_P(MatMulTest, EqualsTheReferenceForLongSumsAndManyRows) {
  for (const Case& c : AllCases()) {
    const StoredWeights stored = Stored(c, 70, 1100, 7);
    const WeightMatrix weights = Weights(c, stored);
    const Matrix x = RandomRows(101, 1100, 8);
    Compute reference = ComputeOf(c);
    reference.isa = Isa::kReference;
    ExpectClose(c, weights, x, Run(ComputeOf(c), weights, x.view()),
                Run(reference, weights, x.view()));
  }
}

TEST_P(MatMulTest, ARowsBitsDoNotDependOnItsCompany) {
  for (const Case& c : AllCases()) {
    for (const size_t inputs : {size_t{63}, size_t{640}}) {
      const StoredWeights stored = Stored(c, 65, inputs, 3);
      const WeightMatrix weights = Weights(c, stored);
      const Matrix x = RandomRows(101, inputs, 4);
      const Matrix all = Run(ComputeOf(c), weights, x.view());
      for (const size_t rows : kRowCounts) {
        for (const size_t first : {size_t{0}, size_t{48}, size_t{101} - rows}) {
          const Matrix part = Run(ComputeOf(c), weights, x.view().Rows(first, rows));
          for (size_t r = 0; r < rows; ++r) {
            ASSERT_EQ(std::memcmp(part.row(r).data(), all.row(first + r).data(), 65 * 4), 0)
                << ToString(c) << ": row " << first + r << " among " << rows << " and among 101";
          }
        }
      }
    }
  }
}

TEST_P(MatMulTest, BitsDoNotDependOnTheNumberOfThreads) {
  ThreadPool one(ThreadPoolConfig{.thread_count = 1});
  for (const Case& c : AllCases()) {
    const StoredWeights stored = Stored(c, 500, 200, 3);
    const WeightMatrix weights = Weights(c, stored);
    const Matrix x = RandomRows(9, 200, 4);
    const Compute single{.pool = one,
                         .features = c.level.Features(),
                         .isa = c.level.isa,
                         .arithmetic = c.arithmetic};
    const Matrix a = Run(single, weights, x.view());
    const Matrix b = Run(ComputeOf(c), weights, x.view());
    EXPECT_EQ(std::memcmp(a.values().data(), b.values().data(), a.values().size_bytes()), 0)
        << ToString(c);
  }
}

TEST_P(MatMulTest, TasksOfOneCallDoNotDisturbEachOther) {
  for (const Level& level : {Level{Isa::kReference}, GetParam()}) {
    const Compute compute =
        ComputeOf({level, WeightType::kQ8, WeightLayout::kPanels, Arithmetic::kFast});
    const StoredWeights stored = RandomWeights(DType::kBF16, 77, 96, 5);
    const WeightMatrix q8 = PackOrDie(stored.view, WeightType::kQ8);
    const WeightMatrix bf16 = PackOrDie(stored.view, WeightType::kBF16);
    const WeightMatrix borrowed = BorrowOrDie(stored.view);
    const Matrix x = RandomRows(3, 96, 6);
    const Matrix other = RandomRows(8, 96, 7);
    const Matrix none(0, 96);
    Matrix y[5] = {Matrix(3, 77), Matrix(3, 77), Matrix(3, 77), Matrix(8, 77), Matrix(0, 77)};
    const std::vector<MatMulTask> tasks = {{&q8, x.view(), y[0].view()},
                                           {&bf16, x.view(), y[1].view()},
                                           {&borrowed, x.view(), y[2].view()},
                                           {&q8, other.view(), y[3].view()},
                                           {&q8, none.view(), y[4].view()}};
    MatMul(compute, tasks);
    const Matrix expected[4] = {Run(compute, q8, x.view()), Run(compute, bf16, x.view()),
                                Run(compute, borrowed, x.view()), Run(compute, q8, other.view())};
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_TRUE(
          std::equal(y[i].values().begin(), y[i].values().end(), expected[i].values().begin()))
          << i;
    }
  }
}

TEST_P(MatMulTest, ViewsMayBePartsOfWiderMatrices) {
  for (const Case& c : AllCases()) {
    const StoredWeights stored = Stored(c, 40, 50, 5);
    const WeightMatrix weights = Weights(c, stored);
    const Matrix wide = RandomRows(4, 71, 6);
    Matrix x(4, 50);
    for (size_t r = 0; r < 4; ++r) {
      std::copy_n(wide.row(r).begin() + 9, 50, x.row(r).begin());
    }
    Matrix y(4, 60);
    y.Fill(-7.0f);
    const MatMulTask task{&weights, wide.view().Cols(9, 50), y.view().Cols(11, 40)};
    MatMul(ComputeOf(c), {&task, 1});
    const Matrix expected = Run(ComputeOf(c), weights, x.view());
    for (size_t r = 0; r < 4; ++r) {
      EXPECT_EQ(y.row(r)[10], -7.0f);
      EXPECT_EQ(y.row(r)[51], -7.0f);
      EXPECT_TRUE(std::equal(expected.row(r).begin(), expected.row(r).end(), y.row(r).begin() + 11))
          << ToString(c);
    }
  }
}

TEST_P(MatMulTest, ANonFiniteRowSpoilsItselfOnly) {
  for (const Case& c : AllCases()) {
    const StoredWeights stored = Stored(c, 33, 70, 5);
    const WeightMatrix weights = Weights(c, stored);
    Matrix x = RandomRows(3, 70, 6);
    const Matrix clean = Run(ComputeOf(c), weights, x.view());
    x.row(1)[69] = std::numeric_limits<float>::quiet_NaN();
    const Matrix y = Run(ComputeOf(c), weights, x.view());
    for (size_t n = 0; n < 33; ++n) {
      EXPECT_EQ(y.row(0)[n], clean.row(0)[n]) << ToString(c);
      EXPECT_TRUE(std::isnan(y.row(1)[n])) << ToString(c);
      EXPECT_EQ(y.row(2)[n], clean.row(2)[n]) << ToString(c);
    }
  }
}

TEST_P(MatMulTest, ZeroRowsGiveZeros) {
  for (const Case& c : AllCases()) {
    const StoredWeights stored = Stored(c, 33, 70, 5);
    const WeightMatrix weights = Weights(c, stored);
    const Matrix x(2, 70);
    const Matrix y = Run(ComputeOf(c), weights, x.view());
    for (const float value : y.values()) EXPECT_EQ(value, 0.0f) << ToString(c);
  }
}

// What batch_invariant = false may change, and what it may not.
TEST_P(MatMulTest, BatchVariantProductsStayWithinTheirBound) {
  for (const WeightType type : kTypes) {
    const Case c = {GetParam(), type, WeightLayout::kPanels, Arithmetic::kFast, false};
    for (const size_t inputs : {size_t{31}, size_t{96}, size_t{700}}) {
      const StoredWeights stored = Stored(c, 70, inputs, 7);
      const WeightMatrix weights = Weights(c, stored);
      for (const size_t rows : {1, 5, 15, 16, 17, 32, 33, 41, 48, 49, 101}) {
        const Matrix x = RandomRows(rows, inputs, 8);
        Compute reference = ComputeOf(c);
        reference.isa = Isa::kReference;
        ExpectClose(c, weights, x, Run(ComputeOf(c), weights, x.view()),
                    Run(reference, weights, x.view()));
      }
    }
  }
}

bool SameBits(const Matrix& a, const Matrix& b) {
  return a.values().size() == b.values().size() &&
         std::memcmp(a.values().data(), b.values().data(), a.values().size_bytes()) == 0;
}

// Integer sums of a block are exact, and the blocks are added in one order: so vpdpbusd and int8
// tiles give the same bits.
TEST_P(MatMulTest, TilesAndVectorsGiveTheSameBitsForQuantisedWeights) {
  if (GetParam().isa != Isa::kAmx) GTEST_SKIP() << "compares kAmx with kAvx512";
  for (const WeightType type : {WeightType::kQ8, WeightType::kQ4}) {
    const Case tiles = {GetParam(), type, WeightLayout::kPanels, Arithmetic::kFast};
    const Case vectors = {
        {.isa = Isa::kAvx512, .vnni = true}, type, WeightLayout::kPanels, Arithmetic::kFast};
    for (const size_t inputs : {size_t{30}, size_t{160}, size_t{1000}}) {
      const StoredWeights stored = Stored(tiles, 65, inputs, 5);
      const WeightMatrix weights = Weights(tiles, stored);
      for (const size_t rows : {1, 4, 5, 15, 16, 17, 53}) {
        const Matrix x = RandomRows(rows, inputs, 6);
        EXPECT_TRUE(SameBits(Run(ComputeOf(tiles), weights, x.view()),
                             Run(ComputeOf(vectors), weights, x.view())))
            << ToString(tiles) << ", " << rows << " rows, " << inputs << " inputs";
      }
    }
  }
}

// float32 on panels is one chain of fused multiply-adds an output on every level.
TEST_P(MatMulTest, Float32OnPanelsGivesTheBitsOfAvx2) {
  for (const WeightType type : kTypes) {
    const Case c = {GetParam(), type, WeightLayout::kPanels, Arithmetic::kFloat32};
    const Case avx2 = {{Isa::kAvx2}, type, WeightLayout::kPanels, Arithmetic::kFloat32};
    const StoredWeights stored = Stored(c, 65, 450, 5);
    const WeightMatrix weights = Weights(c, stored);
    const Matrix x = RandomRows(21, 450, 6);
    EXPECT_TRUE(
        SameBits(Run(ComputeOf(c), weights, x.view()), Run(ComputeOf(avx2), weights, x.view())))
        << ToString(c);
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, MatMulTest, ::testing::ValuesIn(kLevels),
                         [](const auto& info) { return info.param.Name(); });

}  // namespace
}  // namespace tessera::kernels
