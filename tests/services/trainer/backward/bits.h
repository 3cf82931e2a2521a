#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace tessera::trainer {

// For comparisons in which -0 is not +0, and a NaN is itself.
inline std::vector<uint32_t> BitsOf(const std::vector<float>& numbers) {
  std::vector<uint32_t> bits;
  bits.reserve(numbers.size());
  for (const float number : numbers) bits.push_back(std::bit_cast<uint32_t>(number));
  return bits;
}

}  // namespace tessera::trainer
