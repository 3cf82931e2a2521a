#include "services/trainer/optimizer/adamw.h"

#include <cmath>

namespace tessera::trainer {

void AdamStep(const AdamOptions& options, double rate, uint64_t step,
              std::span<const float> gradient, float gradient_scale, std::span<float> first,
              std::span<float> second, std::span<float> weights) {
  const auto beta1 = static_cast<float>(options.beta1), beta2 = static_cast<float>(options.beta2);
  const auto count = static_cast<double>(step);
  const auto first_scale = static_cast<float>(rate / (1 - std::pow(options.beta1, count)));
  const auto second_scale = static_cast<float>(1 / (1 - std::pow(options.beta2, count)));
  const auto epsilon = static_cast<float>(options.epsilon);
  const auto keep = static_cast<float>(1 - rate * options.weight_decay);
  for (size_t i = 0; i < weights.size(); ++i) {
    const float g = gradient[i] * gradient_scale;
    first[i] = beta1 * first[i] + (1 - beta1) * g;
    second[i] = beta2 * second[i] + (1 - beta2) * g * g;
    const float update = first_scale * first[i] / (std::sqrt(second_scale * second[i]) + epsilon);
    weights[i] = keep * weights[i] - update;
  }
}

}  // namespace tessera::trainer
