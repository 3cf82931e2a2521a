#pragma once

// Muon: momentum whose update is made orthogonal. Jordan et al., "Muon: an optimizer for the hidden
// layers of neural networks", 2024.
//
//   m = mu m + g;  u = g + mu m (Nesterov);  W -= rate * sqrt(max(1, rows / cols)) *
//   NewtonSchulz(u)

#include <cstddef>
#include <span>
#include <vector>

namespace tessera::trainer {

struct MuonOptions {
  double momentum = 0.95;
  double weight_decay = 0;  // of the learning rate
  size_t iterations = 5;
};

// Memory of one thread for matrices of up to `size_max` numbers and `side_max` on the shorter side.
class MuonScratch {
 public:
  MuonScratch(size_t size_max, size_t side_max);

 private:
  friend void Orthogonalize(size_t, size_t, size_t, float*, MuonScratch&);
  friend void MuonStep(const MuonOptions&, double, size_t, size_t, const float*, float, float*,
                       float*, MuonScratch&);
  // gram_ = X^T X or X X^T, whichever is smaller.
  void Gram(size_t rows, size_t cols, const float* x);
  // x = x F of a tall one, F x of a wide one.
  void Multiply(size_t rows, size_t cols, const float* factor, float* x);
  // The iterations by products of the long side, x as large as 1 at most;
  void IterateLong(size_t rows, size_t cols, size_t iterations, float* x);
  // or of the short one: product_ becomes the factor that all iterations (> 0) together are, of
  // scale * x.
  void Factor(size_t rows, size_t cols, size_t iterations, float scale, const float* x);

  std::vector<float> update_;  // [size_max], like the one below
  std::vector<float> next_;
  std::vector<float> panels_;  // of the transpose of a wide matrix
  std::vector<float> gram_;    // [side_max, side_max], like the three below
  std::vector<float> polynomial_;
  std::vector<float> product_;
  std::vector<float> square_;
};

// x [rows, cols] becomes about U V^T of its singular value decomposition: singular values between
// 0.7 and 1.2 after five iterations, those near zero excepted. Zero stays zero.
void Orthogonalize(size_t rows, size_t cols, size_t iterations, float* x, MuonScratch& scratch);

// Additions and multiplications of the products that does; of one that is symmetric, half.
double OrthogonalizeFlops(size_t rows, size_t cols, size_t iterations);

// One step on one matrix [rows, cols]. The gradient counts gradient_scale times.
void MuonStep(const MuonOptions& options, double rate, size_t rows, size_t cols,
              const float* gradient, float gradient_scale, float* momentum, float* weights,
              MuonScratch& scratch);

}  // namespace tessera::trainer
