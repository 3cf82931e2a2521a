#include "tests/support/mutator.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <utility>

#include "common/base/check.h"

namespace tessera::testing {
namespace {

constexpr std::array<std::string_view, 22> kEdges = {"0",
                                                     "-0",
                                                     "-1",
                                                     "1",
                                                     "2",
                                                     "127",
                                                     "128",
                                                     "255",
                                                     "65536",
                                                     "2147483647",
                                                     "2147483648",
                                                     "4294967295",
                                                     "4294967296",
                                                     "9223372036854775807",
                                                     "9223372036854775808",
                                                     "18446744073709551615",
                                                     "18446744073709551616",
                                                     "1e308",
                                                     "1e999",
                                                     "1e-999",
                                                     "0.5",
                                                     "NaN"};

// Replaces a run of digits, picked at random, by a number at an edge.
void ChangeNumber(Random& random, std::string& text) {
  const size_t from = random.Below(text.size());
  const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  const auto begin =
      std::find_if(text.begin() + static_cast<ptrdiff_t>(from), text.end(), is_digit);
  if (begin == text.end()) return;
  const auto end = std::find_if_not(begin, text.end(), is_digit);
  text.replace(begin, end, kEdges[random.Below(kEdges.size())]);
}

}  // namespace

Mutator::Mutator(uint64_t seed, std::vector<std::string> corpus,
                 std::vector<std::string> dictionary)
    : seed_(seed), corpus_(std::move(corpus)), dictionary_(std::move(dictionary)) {
  TESSERA_CHECK(!corpus_.empty());
}

std::string Mutator::At(uint64_t n) const {
  Random random(MixBits(seed_) ^ MixBits(n));
  std::string text = Pick(random, corpus_);
  const uint64_t changes = 1 + random.Below(4);
  for (uint64_t i = 0; i < changes; ++i) Change(random, text);
  return text;
}

void Mutator::Change(Random& random, std::string& text) const {
  if (text.empty()) text = Pick(random, corpus_);
  if (text.empty()) return;
  const size_t at = random.Below(text.size());
  const size_t count = 1 + random.Below(std::min<size_t>(text.size() - at, 64));
  switch (random.Below(9)) {
    case 0:
      text[at] = static_cast<char>(text[at] ^ (1 << random.Below(8)));
      return;
    case 1:
      text[at] = static_cast<char>(random.Below(256));
      return;
    case 2:
      text.erase(at, count);
      return;
    case 3:
      text.insert(random.Below(text.size()), text.substr(at, count));
      return;
    case 4:
      text.resize(at);
      return;
    case 5: {
      const std::string& other = Pick(random, corpus_);
      text.replace(at, count, other.substr(random.Below(other.size() + 1), 64));
      return;
    }
    case 6:
      if (!dictionary_.empty()) text.insert(at, Pick(random, dictionary_));
      return;
    default:
      return ChangeNumber(random, text);
  }
}

const std::string& Mutator::Pick(Random& random, std::span<const std::string> from) const {
  return from[random.Below(from.size())];
}

uint64_t FuzzRounds(uint64_t rounds) {
  const char* factor = std::getenv("TESSERA_FUZZ_FACTOR");
  const long value = factor == nullptr ? 1 : std::strtol(factor, nullptr, 10);
  return rounds * static_cast<uint64_t>(std::max(1L, value));
}

}  // namespace tessera::testing
