#include "services/trainer/optimizer/muon.h"

#include <algorithm>
#include <cmath>

#include "services/trainer/backward/gemm.h"
#include "services/trainer/backward/row_kernels.h"

namespace tessera::trainer {
namespace {

// The quintic a x + b x^3 + c x^5 that lifts small singular values fastest and keeps all below 1.3.
constexpr float kLinear = 3.4445f;
constexpr float kCubic = -4.7750f;
constexpr float kQuintic = 2.0315f;

// Whether iterations on the short side are fewer operations.
bool IsLong(size_t length, size_t side) { return length > 2 * side; }

// C [n, n] = A B of matrices that commute and are symmetric.
void SquareProduct(size_t n, const float* a, const float* b, float* c) {
  SymmetricGemm(n, n, Rows(a, n), RightRows(b, n), c);
}

// P = a + b G + c G G.
void Polynomial(size_t side, const float* gram, float* polynomial) {
  SquareProduct(side, gram, gram, polynomial);
  Scale(side * side, kQuintic, polynomial, polynomial);
  AddScaled(side * side, kCubic, gram, polynomial);
  for (size_t j = 0; j < side; ++j) polynomial[j * side + j] += kLinear;
}

}  // namespace

MuonScratch::MuonScratch(size_t size_max, size_t side_max)
    : update_(size_max),
      next_(size_max),
      gram_(side_max * side_max),
      polynomial_(side_max * side_max),
      product_(side_max * side_max),
      square_(side_max * side_max) {}

void MuonScratch::Gram(size_t rows, size_t cols, const float* x) {
  if (rows > cols) {
    return SymmetricGemm(cols, rows, Transposed(x, cols), RightRows(x, cols), gram_.data());
  }
  panels_.resize(std::max(panels_.size(), PanelSize(cols, rows)));
  PackPanelsTransposed(x, cols, cols, rows, panels_.data());
  SymmetricGemm(rows, cols, Rows(x, cols), Panels<float>(panels_.data(), cols), gram_.data());
}

void MuonScratch::Multiply(size_t rows, size_t cols, const float* factor, float* x) {
  if (rows > cols) {
    Gemm(rows, cols, cols, Rows<float>(x, cols), RightRows(factor, cols), next_.data(), cols,
         GemmMode::kSet);
  } else {
    Gemm(rows, cols, rows, Rows(factor, rows), RightRows<float>(x, cols), next_.data(), cols,
         GemmMode::kSet);
  }
  std::copy_n(next_.data(), rows * cols, x);
}

void MuonScratch::IterateLong(size_t rows, size_t cols, size_t iterations, float* x) {
  for (size_t i = 0; i < iterations; ++i) {
    Gram(rows, cols, x);
    Polynomial(std::min(rows, cols), gram_.data(), polynomial_.data());
    Multiply(rows, cols, polynomial_.data(), x);
  }
}

void MuonScratch::Factor(size_t rows, size_t cols, size_t iterations, float scale, const float* x) {
  const size_t side = std::min(rows, cols);
  Gram(rows, cols, x);
  Scale(side * side, scale * scale, gram_.data(), gram_.data());
  Polynomial(side, gram_.data(), product_.data());
  std::copy_n(product_.data(), side * side, polynomial_.data());
  for (size_t i = 1; i < iterations; ++i) {
    SquareProduct(side, polynomial_.data(), gram_.data(), square_.data());
    SquareProduct(side, square_.data(), polynomial_.data(), gram_.data());
    Polynomial(side, gram_.data(), polynomial_.data());
    SquareProduct(side, product_.data(), polynomial_.data(), square_.data());
    std::swap(product_, square_);
  }
}

// With G = X^T X (of a wide X: X X^T) and P = a + b G + c G G an iteration is X <- X P (or P X),
// after which G is P G P: all but the first and the last product can be done on the short side.
// Where the sides are nearly equal that saves nothing, and X itself goes through the iterations.
void Orthogonalize(size_t rows, size_t cols, size_t iterations, float* x, MuonScratch& scratch) {
  const size_t n = rows * cols, side = std::min(rows, cols), length = std::max(rows, cols);
  const float norm = std::sqrt(Dot(n, x, x));
  if (!(norm > 0)) return;
  Scale(n, 1 / norm, x, x);
  if (!IsLong(length, side) || iterations == 0) {
    return scratch.IterateLong(rows, cols, iterations, x);
  }
  scratch.Factor(rows, cols, iterations, 1.0f, x);
  scratch.Multiply(rows, cols, scratch.product_.data(), x);
}

double OrthogonalizeFlops(size_t rows, size_t cols, size_t iterations) {
  const auto side = static_cast<double>(std::min(rows, cols));
  const auto length = static_cast<double>(std::max(rows, cols));
  const double once = 3 * length * side * side;  // Gram and Multiply
  const double small = side * side * side;
  const auto n = static_cast<double>(iterations);
  if (iterations == 0) return 0;
  return IsLong(std::max(rows, cols), std::min(rows, cols)) ? once + small * (1 + 4 * (n - 1))
                                                            : n * (once + small);
}

void MuonStep(const MuonOptions& options, double rate, size_t rows, size_t cols,
              const float* gradient, float gradient_scale, float* momentum, float* weights,
              MuonScratch& scratch) {
  const size_t n = rows * cols, side = std::min(rows, cols);
  float* update = scratch.update_.data();
  const float square = MomentumStep(n, static_cast<float>(options.momentum), gradient_scale,
                                    gradient, momentum, update);
  if (options.weight_decay > 0) {
    Scale(n, static_cast<float>(1 - rate * options.weight_decay), weights, weights);
  }
  if (!(square > 0)) return;
  const float inverse = 1 / std::sqrt(square);
  const double shape =
      std::sqrt(std::max(1.0, static_cast<double>(rows) / static_cast<double>(cols)));
  const auto times = static_cast<float>(-rate * shape);
  if (!IsLong(std::max(rows, cols), side) || options.iterations == 0) {
    Scale(n, inverse, update, update);
    scratch.IterateLong(rows, cols, options.iterations, update);
    return AddScaled(n, times, update, weights);
  }
  // The last product goes straight to the weights.
  scratch.Factor(rows, cols, options.iterations, inverse, update);
  float* factor = scratch.product_.data();
  Scale(side * side, times * inverse, factor, factor);
  const bool tall = rows > cols;
  Gemm(rows, cols, side, tall ? Rows<float>(update, cols) : Rows<float>(factor, rows),
       tall ? RightRows<float>(factor, cols) : RightRows<float>(update, cols), weights, cols,
       GemmMode::kAdd);
}

}  // namespace tessera::trainer
