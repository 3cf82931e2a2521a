#include "common/text/unicode.h"

#include <algorithm>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "common/base/utf8.h"
#include "common/text/unicode_tables.h"

namespace tessera {
namespace {

struct CategoryName {
  std::string_view name;  // lower case, without '_', '-' and spaces
  CategoryMask mask;
};

constexpr CategoryMask kAll = (CategoryMask{1} << kCategoryCount) - 1;

constexpr CategoryName kLongNames[] = {
    {"any", kAll},
    {"assigned", kAll & ~MaskOf(Category::kCn)},
    {"l", kLetters},
    {"letter", kLetters},
    {"lc", MaskOf(Category::kLu, Category::kLt)},
    {"m", kMarks},
    {"mark", kMarks},
    {"combiningmark", kMarks},
    {"n", kNumbers},
    {"number", kNumbers},
    {"p", kPunctuations},
    {"punct", kPunctuations},
    {"punctuation", kPunctuations},
    {"s", kSymbols},
    {"symbol", kSymbols},
    {"z", kSeparators},
    {"separator", kSeparators},
    {"c", kOthers},
    {"other", kOthers},
    {"uppercaseletter", MaskOf(Category::kLu)},
    {"lowercaseletter", MaskOf(Category::kLl)},
    {"titlecaseletter", MaskOf(Category::kLt)},
    {"modifierletter", MaskOf(Category::kLm)},
    {"otherletter", MaskOf(Category::kLo)},
    {"nonspacingmark", MaskOf(Category::kMn)},
    {"spacingmark", MaskOf(Category::kMc)},
    {"enclosingmark", MaskOf(Category::kMe)},
    {"decimalnumber", MaskOf(Category::kNd)},
    {"digit", MaskOf(Category::kNd)},
    {"letternumber", MaskOf(Category::kNl)},
    {"othernumber", MaskOf(Category::kNo)},
    {"connectorpunctuation", MaskOf(Category::kPc)},
    {"dashpunctuation", MaskOf(Category::kPd)},
    {"openpunctuation", MaskOf(Category::kPs)},
    {"closepunctuation", MaskOf(Category::kPe)},
    {"initialpunctuation", MaskOf(Category::kPi)},
    {"finalpunctuation", MaskOf(Category::kPf)},
    {"otherpunctuation", MaskOf(Category::kPo)},
    {"mathsymbol", MaskOf(Category::kSm)},
    {"currencysymbol", MaskOf(Category::kSc)},
    {"modifiersymbol", MaskOf(Category::kSk)},
    {"othersymbol", MaskOf(Category::kSo)},
    {"spaceseparator", MaskOf(Category::kZs)},
    {"lineseparator", MaskOf(Category::kZl)},
    {"paragraphseparator", MaskOf(Category::kZp)},
    {"control", MaskOf(Category::kCc)},
    {"format", MaskOf(Category::kCf)},
    {"privateuse", MaskOf(Category::kCo)},
    {"unassigned", MaskOf(Category::kCn)},
};

constexpr std::string_view kShortNames =
    "LuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCoCn";

void AppendRange(char32_t first, char32_t last, CodePointRanges* ranges) {
  if (!ranges->empty() && ranges->back().second + 1 == first) {
    ranges->back().second = last;
  } else {
    ranges->emplace_back(first, last);
  }
}

// Flat table of one byte per code point, from which the pages are made.
std::vector<uint8_t> FlatCategories() {
  std::vector<uint8_t> flat(kCodePointEnd);
  PackedNumbers numbers(kPackedCategories);
  size_t at = 0;
  while (numbers.more()) {
    const size_t length = numbers.Next();
    std::fill_n(flat.begin() + static_cast<ptrdiff_t>(at), length,
                static_cast<uint8_t>(numbers.Next()));
    at += length;
  }
  return flat;
}

}  // namespace

std::string_view NameOf(Category category) {
  return kShortNames.substr(2 * static_cast<size_t>(category), 2);
}

std::optional<CategoryMask> FindCategories(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    if (c != '_' && c != '-' && c != ' ') plain.push_back(absl::ascii_tolower(c));
  }
  for (const CategoryName& entry : kLongNames) {
    if (entry.name == plain) return entry.mask;
  }
  for (size_t i = 0; i < kCategoryCount; ++i) {
    const auto category = static_cast<Category>(i);
    if (absl::AsciiStrToLower(std::string(NameOf(category))) == plain) return MaskOf(category);
  }
  return std::nullopt;
}

CodePointRanges RangesOf(CategoryMask categories) {
  CodePointRanges ranges;
  PackedNumbers numbers(kPackedCategories);
  char32_t at = 0;
  while (numbers.more()) {
    const uint32_t length = numbers.Next();
    const uint32_t category = numbers.Next();
    if ((categories >> category & 1) != 0) AppendRange(at, at + length - 1, &ranges);
    at += length;
  }
  return ranges;
}

CategoryDifference DifferenceFromUnicode14(CategoryMask categories) {
  CategoryDifference difference;
  const std::vector<uint8_t> now = FlatCategories();
  PackedNumbers numbers(kPackedCategoryChanges);
  char32_t at = 0;
  while (numbers.more()) {
    at += numbers.Next();
    const uint32_t length = numbers.Next();
    const bool was_in = (categories >> numbers.Next() & 1) != 0;
    for (const char32_t end = at + length; at < end; ++at) {
      const bool is_in = (categories >> now[at] & 1) != 0;
      if (is_in && !was_in) AppendRange(at, at, &difference.added);
      if (!is_in && was_in) AppendRange(at, at, &difference.removed);
    }
  }
  return difference;
}

CodePointRanges Complement(const CodePointRanges& ranges) {
  const CodePointRanges holes = Union(ranges, {{0xD800, 0xDFFF}});
  CodePointRanges result;
  char32_t at = 0;
  for (const auto& [first, last] : holes) {
    if (first > at) result.emplace_back(at, first - 1);
    at = last + 1;
  }
  if (at < kCodePointEnd) result.emplace_back(at, kCodePointEnd - 1);
  return result;
}

CodePointRanges Union(CodePointRanges a, const CodePointRanges& b) {
  a.insert(a.end(), b.begin(), b.end());
  std::sort(a.begin(), a.end());
  CodePointRanges result;
  for (const auto& [first, last] : a) {
    if (!result.empty() && first <= result.back().second + 1) {
      result.back().second = std::max(result.back().second, last);
    } else {
      result.emplace_back(first, last);
    }
  }
  return result;
}

CodePointRanges SpaceRanges() {
  return {{0x09, 0x0D},     {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
          {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
}

CodePointRanges WordExtras() {
  return {{0xB2, 0xB3},       {0xB9, 0xB9},       {0xBC, 0xBE},      {0x24B6, 0x24E9},
          {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};
}

UnicodeProperties::UnicodeProperties() {
  std::vector<uint8_t> flat = FlatCategories();
  for (uint8_t& info : flat) {
    if ((kNumbers >> info & 1) != 0) info |= kNumericBit;
  }
  const auto mark = [&flat](uint8_t bit) {
    return [&flat, bit](uint32_t start, uint32_t length) {
      for (uint32_t c = start; c < start + length; ++c) flat[c] |= bit;
    };
  };
  ForEachRun(kPackedNumericBeyondN, mark(kNumericBit));
  ForEachRun(kPackedPunctuation, mark(kPunctuationBit));
  for (const auto& [first, last] : SpaceRanges()) mark(kSpaceBit)(first, last - first + 1);

  absl::flat_hash_map<std::string_view, uint16_t> known;
  for (size_t page = 0; page < pages_.size(); ++page) {
    const std::string_view bytes(reinterpret_cast<const char*>(flat.data()) + page * 256, 256);
    const auto [it, is_new] = known.try_emplace(bytes, static_cast<uint16_t>(known.size()));
    pages_[page] = it->second;
    if (is_new) info_.insert(info_.end(), bytes.begin(), bytes.end());
  }
}

bool UnicodeProperties::IsWord(char32_t c) const {
  constexpr CategoryMask kWord =
      kLetters | kMarks | MaskOf(Category::kNd) | MaskOf(Category::kNl) | MaskOf(Category::kPc);
  if (IsIn(c, kWord)) return true;
  // Other_Alphabetic symbols (circled and squared letters) and the two joiners.
  return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189) || c == 0x200C ||
         c == 0x200D;
}

}  // namespace tessera
