#include <cmath>
#include <numbers>

#include "absl/strings/match.h"
#include "common/base/random.h"
#include "services/trainer/run/trainer.h"

namespace tessera::trainer {
namespace {

// Box and Muller, drawn again beyond three deviations.
double TruncatedNormal(Random& random) {
  for (;;) {
    const double radius = std::sqrt(-2 * std::log(1 - random.Uniform()));
    const double value = radius * std::cos(2 * std::numbers::pi * random.Uniform());
    if (std::fabs(value) <= 3) return value;
  }
}

double DeviationOf(const Parameter& parameter) {
  const double deviation = 1 / std::sqrt(static_cast<double>(parameter.cols));
  const bool halved =
      parameter.kind == ParameterKind::kHead || parameter.kind == ParameterKind::kAttentionGate;
  return halved ? deviation / 2 : deviation;
}

}  // namespace

void InitializeWeights(const ParameterLayout& layout, uint64_t seed, std::span<float> values) {
  const double post_norm = 1 / std::sqrt(static_cast<double>(layout.spec.layer_count));
  for (size_t p = 0; p < layout.parameters.size(); ++p) {
    const Parameter& parameter = layout.parameters[p];
    // Each parameter has its own stream, so that adding one changes no other.
    Random random(RandomBits(seed, p));
    const double deviation = DeviationOf(parameter);
    for (size_t i = 0; i < parameter.count; ++i) {
      const std::span<float> matrix =
          values.subspan(parameter.offset + i * parameter.stride, parameter.size());
      for (float& value : matrix) {
        if (parameter.kind == ParameterKind::kNorm) {
          const bool post = absl::StrContains(parameter.name, "post_");
          value = static_cast<float>(post ? post_norm : 1.0);
        } else {
          value = static_cast<float>(deviation * TruncatedNormal(random));
        }
      }
    }
  }
}

}  // namespace tessera::trainer
