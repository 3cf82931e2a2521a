#pragma once

// How the load of experts is kept even, by a bias that changes which experts are chosen and nothing
// else. After every step, per layer, with n_e the rows of expert e and `mean` their average:
//
//   smebu  v = (mean - n) / mean;  s = tanh(2 v);  d = rate * (s - mean of s);
//          m = momentum * m + (1 - momentum) * d;  bias += m
//   sign   bias += rate * sign(mean - n)
//   aux    none here: a loss on the router's scores does it (Moe::Backward)
//   none   nothing
//
// smebu is the soft-clamped momentum expert bias update of the Trinity models.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace tessera::trainer {

enum class BalanceMethod { kSmebu, kSign, kAux, kNone };
// kInvalidArgument for a name that is none of the four, naming them.
absl::StatusOr<BalanceMethod> ParseBalanceMethod(std::string_view name);
std::string_view NameOf(BalanceMethod method);

// Thread-compatible.
class ExpertBalance {
 public:
  // momentum of smebu, in [0, 1).
  ExpertBalance(BalanceMethod method, double momentum, size_t layer_count, size_t expert_count);

  // counts [layers][experts]: rows of the step.
  void Update(double rate, std::span<const std::vector<uint32_t>> counts);

  std::span<const float> bias() const { return bias_; }  // [layers, experts]
  // What a checkpoint keeps, both [layers, experts].
  std::span<float> mutable_bias() { return bias_; }
  std::span<float> mutable_momentum() { return velocity_; }

 private:
  void UpdateLayer(double rate, std::span<const uint32_t> counts, std::span<float> bias,
                   std::span<float> velocity);

  const BalanceMethod method_;
  const double momentum_;
  const size_t expert_count_;
  std::vector<float> bias_;
  std::vector<float> velocity_;
};

// How even a layer's load is.
struct LoadFigures {
  double max_violation = 0;  // MaxVio: largest over mean, minus one; 0 is perfect
  double mean_over_max = 1;  // 1 is perfect
  double jain = 1;           // Jain's index, (sum n)^2 / (experts sum n^2); 1 is perfect
  size_t unused = 0;         // experts without a row
};
// No rows at all: perfect, and every expert unused.
LoadFigures FiguresOf(std::span<const uint32_t> counts);

}  // namespace tessera::trainer
