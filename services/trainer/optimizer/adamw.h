#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace tessera::trainer {

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-10;
  double weight_decay = 0;  // of the learning rate, apart from the gradient
};

// One step of AdamW on `weights`. Loshchilov and Hutter, "Decoupled weight decay regularization",
// 2019. step: 1 for the first. The gradient counts gradient_scale times. All spans have one size.
void AdamStep(const AdamOptions& options, double rate, uint64_t step,
              std::span<const float> gradient, float gradient_scale, std::span<float> first,
              std::span<float> second, std::span<float> weights);

}  // namespace tessera::trainer
