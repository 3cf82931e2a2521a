#include "services/trainer/optimizer/muon.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/base/random.h"
#include "services/trainer/optimizer/optimizer.h"

namespace tessera::trainer {
namespace {

std::vector<float> Numbers(size_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> x(n);
  for (float& value : x) value = static_cast<float>(random.Uniform() - 0.5);
  return x;
}

// The iteration written down in float64, on X as it lies.
std::vector<double> Reference(size_t rows, size_t cols, const std::vector<float>& x) {
  std::vector<double> y(x.begin(), x.end());
  double square = 0;
  for (const double value : y) square += value * value;
  for (double& value : y) value /= std::sqrt(square);
  const auto product = [](const std::vector<double>& a, const std::vector<double>& b, size_t m,
                          size_t n, size_t k, bool b_transposed) {
    std::vector<double> c(m * n);
    for (size_t i = 0; i < m; ++i) {
      for (size_t j = 0; j < n; ++j) {
        for (size_t l = 0; l < k; ++l) {
          c[i * n + j] += a[i * k + l] * (b_transposed ? b[j * k + l] : b[l * n + j]);
        }
      }
    }
    return c;
  };
  for (size_t step = 0; step < 5; ++step) {
    const std::vector<double> gram = product(y, y, rows, rows, cols, true);
    const std::vector<double> square_gram = product(gram, gram, rows, rows, rows, false);
    std::vector<double> polynomial(rows * rows);
    for (size_t i = 0; i < rows * rows; ++i) {
      polynomial[i] = -4.7750 * gram[i] + 2.0315 * square_gram[i];
    }
    for (size_t i = 0; i < rows; ++i) polynomial[i * rows + i] += 3.4445;
    y = product(polynomial, y, rows, cols, rows, false);
  }
  return y;
}

TEST(MuonTest, OrthogonalizeFollowsTheIteration) {
  for (const auto& [rows, cols] :
       {std::pair<size_t, size_t>{16, 128}, {128, 16}, {40, 40}, {6, 9}}) {
    const std::vector<float> x = Numbers(rows * cols, 1);
    std::vector<float> got = x;
    MuonScratch scratch(rows * cols, std::min(rows, cols));
    Orthogonalize(rows, cols, 5, got.data(), scratch);
    const std::vector<double> wanted = Reference(rows, cols, x);
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], wanted[i], 2e-4) << rows << "x" << cols;
    }
  }
}

TEST(MuonTest, SingularValuesAreNearOne) {
  std::vector<float> x = Numbers(16 * 128, 2);
  MuonScratch scratch(16 * 128, 16);
  Orthogonalize(16, 128, 5, x.data(), scratch);
  for (size_t i = 0; i < 16; ++i) {
    double square = 0;  // of a row: between the squares of the extreme singular values
    for (size_t j = 0; j < 128; ++j) square += static_cast<double>(x[i * 128 + j]) * x[i * 128 + j];
    EXPECT_GT(square, 0.4);
    EXPECT_LT(square, 1.5);
  }
}

// An expert that few rows visit has a gradient of low rank.
TEST(MuonTest, DirectionsWithoutGradientStaySmall) {
  for (const auto& [rows, cols] : {std::pair<size_t, size_t>{16, 128}, {128, 16}, {32, 32}}) {
    const std::vector<float> left = Numbers(rows * 2, 5), right = Numbers(cols * 2, 6);
    std::vector<float> x(rows * cols);
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < cols; ++j) {
        x[i * cols + j] = left[i] * right[j] + left[rows + i] * right[cols + j];
      }
    }
    MuonScratch scratch(rows * cols, std::min(rows, cols));
    Orthogonalize(rows, cols, 5, x.data(), scratch);
    double square = 0;
    for (const float value : x) square += static_cast<double>(value) * value;
    EXPECT_GT(square, 2 * 0.4) << rows << "x" << cols;  // two singular values near one
    EXPECT_LT(square, 2 * 1.5) << rows << "x" << cols;
  }
}

TEST(MuonTest, ZeroStaysZero) {
  std::vector<float> gradient(64), momentum(64), weights(64, 2.0f);
  MuonScratch scratch(64, 8);
  MuonStep({}, 0.02, 8, 8, gradient.data(), 1.0f, momentum.data(), weights.data(), scratch);
  EXPECT_EQ(weights, std::vector<float>(64, 2.0f));
}

// A tall matrix moves sqrt(rows / cols) times as far; the gradient's size does not matter.
TEST(MuonTest, StepHasNesterovMomentumAndTheShapesFactor) {
  const size_t rows = 32, cols = 8;
  const std::vector<float> first = Numbers(rows * cols, 3), second = Numbers(rows * cols, 4);
  std::vector<float> momentum(rows * cols), weights(rows * cols);
  MuonScratch scratch(rows * cols, cols);
  MuonStep({.momentum = 0.9}, 0.0, rows, cols, first.data(), 1.0f, momentum.data(), weights.data(),
           scratch);
  MuonStep({.momentum = 0.9}, 0.1, rows, cols, second.data(), 1.0f, momentum.data(), weights.data(),
           scratch);
  std::vector<float> update(rows * cols);
  for (size_t i = 0; i < update.size(); ++i) {
    const float kept = 0.9f * first[i] + second[i];
    EXPECT_NEAR(momentum[i], kept, 1e-6);
    update[i] = second[i] + 0.9f * kept;
  }
  Orthogonalize(rows, cols, 5, update.data(), scratch);
  for (size_t i = 0; i < update.size(); ++i) EXPECT_NEAR(weights[i], -0.2f * update[i], 1e-5);
}

}  // namespace
}  // namespace tessera::trainer
