#pragma once

#include <cstddef>
#include <cstdint>

namespace tessera::trainer {

enum class DecayShape { kLinear, kCosine };

// How large a part of its full value the learning rate has over a run: up in a line, constant, down
// to zero.
struct Schedule {
  uint64_t steps = 1;    // of the run
  double warmup = 0.01;  // part of the steps
  double decay = 0.4;    // part of the steps; with kCosine usually 1 - warmup
  DecayShape shape = DecayShape::kLinear;

  // In (0, 1] for step 1..steps.
  double RateScale(uint64_t step) const;
  // 1 until the decay begins, then down to 0 in its shape; what other rates follow.
  double DecayScale(uint64_t step) const;
};

}  // namespace tessera::trainer
