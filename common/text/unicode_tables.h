#pragma once

// Unicode data of the reference tokenizer, as it was measured (tests/text_differential), packed
// into text. Each table is a stream of numbers; unicode_tables_*.cc say what they mean. Character
// properties are those of Unicode 16; normal forms and marks those of the older version the
// reference's normalizer carries.

#include <cstdint>
#include <string_view>

namespace tessera {

extern const char kPackedCategories[];
extern const char kPackedCategoryChanges[];
extern const char kPackedNumericBeyondN[];
extern const char kPackedPunctuation[];
extern const char kPackedLowercase[];
extern const char kPackedMarks[];
extern const char kPackedCombiningClasses[];
extern const char kPackedCanonical[];
extern const char kPackedCompatible[];
extern const char kPackedCompositions[];

// Reads a packed table from front to back. A number is a run of base-64 digits (A-Z a-z 0-9 + -),
// five bits each and the lowest first; a digit of 32 or more has another one after it.
class PackedNumbers {
 public:
  explicit PackedNumbers(const char* text) : at_(text) {}
  bool more() const { return *at_ != '\0'; }
  uint32_t Next() {  // more() must be true
    uint32_t value = 0;
    for (int shift = 0;; shift += 5) {
      const uint32_t digit = DigitOf(*at_++);
      value |= (digit & 31) << shift;
      if (digit < 32) return value;
    }
  }

 private:
  static uint32_t DigitOf(char c) {
    if (c >= 'A' && c <= 'Z') return static_cast<uint32_t>(c - 'A');
    if (c >= 'a' && c <= 'z') return static_cast<uint32_t>(c - 'a') + 26;
    if (c >= '0' && c <= '9') return static_cast<uint32_t>(c - '0') + 52;
    return c == '+' ? 62 : 63;
  }

  const char* at_;
};

// Calls visit(start, length) for each run of a table of (gap, length).
template <typename Visit>
void ForEachRun(const char* table, const Visit& visit) {
  PackedNumbers numbers(table);
  uint32_t at = 0;
  while (numbers.more()) {
    at += numbers.Next();
    const uint32_t length = numbers.Next();
    visit(at, length);
    at += length;
  }
}

}  // namespace tessera
