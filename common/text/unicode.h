#pragma once

// Character properties as the reference tokenizer sees them (see unicode_tables.h).

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/utf8.h"

namespace tessera {

// General categories, in the order of the packed tables.
enum class Category : uint8_t {
  // clang-format off
  kLu, kLl, kLt, kLm, kLo, kMn, kMc, kMe, kNd, kNl, kNo, kPc, kPd, kPs, kPe, kPi, kPf, kPo,
  kSm, kSc, kSk, kSo, kZs, kZl, kZp, kCc, kCf, kCs, kCo, kCn,
  // clang-format on
};
constexpr size_t kCategoryCount = 30;

// A set of categories: bit i stands for Category{i}.
using CategoryMask = uint32_t;
constexpr CategoryMask MaskOf(Category category) {
  return CategoryMask{1} << static_cast<int>(category);
}
constexpr CategoryMask MaskOf(Category first, Category last) {
  return (MaskOf(last) << 1) - MaskOf(first);
}
constexpr CategoryMask kLetters = MaskOf(Category::kLu, Category::kLo);
constexpr CategoryMask kMarks = MaskOf(Category::kMn, Category::kMe);
constexpr CategoryMask kNumbers = MaskOf(Category::kNd, Category::kNo);
constexpr CategoryMask kPunctuations = MaskOf(Category::kPc, Category::kPo);
constexpr CategoryMask kSymbols = MaskOf(Category::kSm, Category::kSo);
constexpr CategoryMask kSeparators = MaskOf(Category::kZs, Category::kZp);
constexpr CategoryMask kOthers = MaskOf(Category::kCc, Category::kCn);

// "Lu", "L", "Letter", "uppercase_letter", "Any"...: the mask of a property name, if it names
// categories.
std::optional<CategoryMask> FindCategories(std::string_view name);
// "Lu" for Category::kLu.
std::string_view NameOf(Category category);

// Sorted, disjoint, inclusive ranges of code points.
using CodePointRanges = std::vector<std::pair<char32_t, char32_t>>;

// All code points of these categories. Reads the whole table: for start-up, not for text.
CodePointRanges RangesOf(CategoryMask categories);
// Those of them that Unicode 14 puts elsewhere, and those Unicode 14 counts among them but the
// reference does not.
struct CategoryDifference {
  CodePointRanges added;
  CodePointRanges removed;
};
CategoryDifference DifferenceFromUnicode14(CategoryMask categories);
// Everything else but surrogates.
CodePointRanges Complement(const CodePointRanges& ranges);
CodePointRanges Union(CodePointRanges a, const CodePointRanges& b);

// White_Space, the reference's \s.
CodePointRanges SpaceRanges();
// What the reference's \w holds beside L, M, Nd, Nl and Pc.
CodePointRanges WordExtras();

// The properties in a form made for walking text: one load from a table of ~60 KB a character.
// Immutable, thread-safe; made once for a tokenizer.
class UnicodeProperties {
 public:
  UnicodeProperties();

  Category CategoryOf(char32_t c) const { return static_cast<Category>(InfoOf(c) & 31); }
  bool IsIn(char32_t c, CategoryMask mask) const { return (mask >> (InfoOf(c) & 31) & 1) != 0; }
  bool IsNumeric(char32_t c) const { return (InfoOf(c) & kNumericBit) != 0; }
  bool IsPunctuation(char32_t c) const { return (InfoOf(c) & kPunctuationBit) != 0; }
  bool IsSpace(char32_t c) const { return (InfoOf(c) & kSpaceBit) != 0; }
  // Category and bits in one number below 256, for tables of one's own.
  uint8_t InfoOf(char32_t c) const { return info_[(size_t{pages_[c >> 8]} << 8) + (c & 255)]; }
  static bool IsSpaceInfo(uint8_t info) { return (info & kSpaceBit) != 0; }
  bool IsWord(char32_t c) const;  // \w of the reference's added tokens

 private:
  static constexpr uint8_t kNumericBit = 32;
  static constexpr uint8_t kPunctuationBit = 64;
  static constexpr uint8_t kSpaceBit = 128;

  std::array<uint16_t, kCodePointEnd / 256> pages_;
  std::vector<uint8_t> info_;  // pages of 256: category and the three bits
};

}  // namespace tessera
