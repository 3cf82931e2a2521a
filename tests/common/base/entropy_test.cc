#include "common/base/entropy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>

namespace tessera {
namespace {

TEST(EntropyTest, NumbersDiffer) {
  std::set<uint64_t> numbers;
  for (int i = 0; i < 1000; ++i) numbers.insert(FreshNumber());
  EXPECT_EQ(numbers.size(), 1000u);
  EXPECT_EQ(numbers.count(0), 0u);
}

TEST(EntropyTest, EveryByteIsFilled) {
  std::array<std::byte, 256> seen{};  // the bits that were ever set
  for (int i = 0; i < 64; ++i) {
    std::array<std::byte, 256> bytes{};
    FillWithEntropy(bytes);
    for (size_t at = 0; at < bytes.size(); ++at) seen[at] |= bytes[at];
  }
  EXPECT_EQ(std::ranges::count(seen, std::byte{0}), 0);
}

}  // namespace
}  // namespace tessera
