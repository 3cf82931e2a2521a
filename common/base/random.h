#pragma once

// Random numbers that depend on a seed and a counter only: the n-th draw of a seed is the same
// whatever else ran in between. Used for sampling (counter = position) and for jitter.

#include <cstdint>

namespace tessera {

// SplitMix64's output function (Steele, Lea, Flood: "Fast splittable pseudorandom number
// generators", 2014).
constexpr uint64_t MixBits(uint64_t z) {
  z += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// The `counter`-th number of stream `seed`.
constexpr uint64_t RandomBits(uint64_t seed, uint64_t counter) {
  return MixBits(MixBits(seed) ^ MixBits(counter ^ 0xd1b54a32d192ed03u));
}

// In [0, 1), 53 bits.
constexpr double RandomUniform(uint64_t seed, uint64_t counter) {
  return static_cast<double>(RandomBits(seed, counter) >> 11) * 0x1.0p-53;
}

// A generator for loops that draw many numbers. Thread-compatible.
class Random {
 public:
  explicit Random(uint64_t seed) : seed_(seed) {}
  uint64_t Bits() { return RandomBits(seed_, counter_++); }
  double Uniform() { return RandomUniform(seed_, counter_++); }
  // In [0, bound); bound > 0. The bias of the modulo is below bound / 2^64.
  uint64_t Below(uint64_t bound) { return Bits() % bound; }

 private:
  uint64_t seed_;
  uint64_t counter_ = 0;
};

}  // namespace tessera
