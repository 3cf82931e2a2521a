#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/random.h"

namespace tessera::testing {

// Makes broken inputs out of good ones: flips, drops, repeats and moves bytes, cuts, splices two
// seeds, puts in words of a dictionary and numbers at the edge of their types. The n-th input of a
// seed is always the same: a failing test prints seed and n, and At(n) makes the input again.
class Mutator {
 public:
  // `dictionary`: words that mean something to the reader under test; may be empty.
  Mutator(uint64_t seed, std::vector<std::string> corpus, std::vector<std::string> dictionary);

  // Input number `n`: one of the corpus after 1 to 4 changes.
  std::string At(uint64_t n) const;

 private:
  void Change(Random& random, std::string& text) const;
  const std::string& Pick(Random& random, std::span<const std::string> from) const;

  const uint64_t seed_;
  const std::vector<std::string> corpus_;
  const std::vector<std::string> dictionary_;
};

// Rounds of a fuzz test: `rounds`, times the environment's TESSERA_FUZZ_FACTOR if that is set.
uint64_t FuzzRounds(uint64_t rounds);

}  // namespace tessera::testing
