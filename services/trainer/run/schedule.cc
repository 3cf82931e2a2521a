#include "services/trainer/run/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tessera::trainer {

double Schedule::DecayScale(uint64_t step) const {
  const double length = decay * static_cast<double>(steps);
  // Steps left, this one included: the last step still has a rate.
  const double left = static_cast<double>(steps - std::min(step, steps) + 1);
  if (left >= length || length <= 0) return 1;
  const double part = left / length;
  return shape == DecayShape::kLinear ? part : 0.5 * (1 - std::cos(std::numbers::pi * part));
}

double Schedule::RateScale(uint64_t step) const {
  const double length = warmup * static_cast<double>(steps);
  const double up = length > 0 ? std::min(1.0, static_cast<double>(step) / length) : 1.0;
  return up * DecayScale(step);
}

}  // namespace tessera::trainer
