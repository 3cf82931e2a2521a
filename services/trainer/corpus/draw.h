#pragma once

// The random choices of one conversation, and what they may choose from.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/random.h"
#include "services/trainer/corpus/course.h"

namespace tessera::trainer {

// Words, frames and topics are split by a hash of their text: an eighth is never trained on.
enum class Split : uint8_t { kTraining, kHeldOut };

// A number for a text, the same on every machine.
uint64_t HashText(std::string_view text);

// Whether `text` belongs to the eighth that is held out.
bool IsHeldOut(std::string_view text);

// Whether `word` could be one of Draw::Word's, capital letters aside.
bool LooksMadeUp(std::string_view word);

// The draws are a function of the seed alone. Owned by one thread.
class Draw {
 public:
  Draw(uint64_t seed, Split split, const Course& course = {})
      : random_(seed), split_(split), course_(course) {}

  Split split() const { return split_; }
  const Course& course() const { return course_; }
  size_t Below(size_t bound) { return random_.Below(bound); }                      // bound > 0
  size_t Between(size_t low, size_t high) { return low + Below(high - low + 1); }  // inclusive
  bool Chance(double probability) { return random_.Uniform() < probability; }

  // One of `list`, which is not empty.
  std::string Of(std::span<const std::string_view> list) {
    return std::string(list[Below(list.size())]);
  }
  std::string Of(std::initializer_list<std::string_view> list) {
    return std::string(list.begin()[Below(list.size())]);
  }
  template <typename T>
  void Shuffle(std::vector<T>& list) {
    for (size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[Below(i)]);
  }

  // A made-up word of this split: syllables of an onset, a vowel and perhaps a coda.
  std::string Word(size_t syllables_min = 1, size_t syllables_max = 3);
  // A made-up word with a capital letter.
  std::string Capitalised();
  // A lower-case word: made up, or while training also a common English one.
  std::string AnyWord();
  // Text of `count` digits without a leading zero (count 1: 0 to 9).
  std::string Digits(size_t count);

 private:
  Random random_;
  Split split_;
  Course course_;
};

}  // namespace tessera::trainer
