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

void Transpose(size_t rows, size_t cols, const float* x, float* turned) {
  for (size_t r = 0; r < rows; ++r) {
    for (size_t j = 0; j < cols; ++j) turned[j * rows + r] = x[r * cols + j];
  }
}

}  // namespace

MuonScratch::MuonScratch(size_t size_max, size_t side_max)
    : update_(size_max),
      x_(size_max),
      next_(size_max),
      gram_(side_max * side_max),
      polynomial_(side_max * side_max) {}

// On the tall form X [long, short]: G = X^T X;  X <- X (a + b G + c G G).
void Orthogonalize(size_t rows, size_t cols, size_t iterations, float* x, MuonScratch& scratch) {
  const size_t n = rows * cols, side = std::min(rows, cols), length = std::max(rows, cols);
  const float norm = std::sqrt(Dot(n, x, x));
  if (!(norm > 0)) return;
  float* current = scratch.x_.data();
  float* next = scratch.next_.data();
  Scale(n, 1 / norm, x, next);
  if (rows < cols) {
    Transpose(rows, cols, next, current);
  } else {
    std::swap(current, next);
  }
  float* gram = scratch.gram_.data();
  float* polynomial = scratch.polynomial_.data();
  for (size_t i = 0; i < iterations; ++i) {
    Gemm(side, side, length, Transposed<float>(current, side), RightRows<float>(current, side),
         gram, side, GemmMode::kSet);
    Gemm(side, side, side, Rows<float>(gram, side), RightRows<float>(gram, side), polynomial, side,
         GemmMode::kSet);
    Scale(side * side, kQuintic, polynomial, polynomial);
    AddScaled(side * side, kCubic, gram, polynomial);
    for (size_t j = 0; j < side; ++j) polynomial[j * side + j] += kLinear;
    Gemm(length, side, side, Rows<float>(current, side), RightRows<float>(polynomial, side), next,
         side, GemmMode::kSet);
    std::swap(current, next);
  }
  if (rows < cols) {
    Transpose(cols, rows, current, x);
  } else {
    std::copy_n(current, n, x);
  }
}

void MuonStep(const MuonOptions& options, double rate, size_t rows, size_t cols,
              const float* gradient, float gradient_scale, float* momentum, float* weights,
              MuonScratch& scratch) {
  const size_t n = rows * cols;
  const auto mu = static_cast<float>(options.momentum);
  float* update = scratch.update_.data();
  Scale(n, mu, momentum, momentum);
  AddScaled(n, gradient_scale, gradient, momentum);
  Scale(n, gradient_scale, gradient, update);
  AddScaled(n, mu, momentum, update);
  Orthogonalize(rows, cols, options.iterations, update, scratch);
  const double shape =
      std::sqrt(std::max(1.0, static_cast<double>(rows) / static_cast<double>(cols)));
  if (options.weight_decay > 0) {
    Scale(n, static_cast<float>(1 - rate * options.weight_decay), weights, weights);
  }
  AddScaled(n, static_cast<float>(-rate * shape), update, weights);
}

}  // namespace tessera::trainer
