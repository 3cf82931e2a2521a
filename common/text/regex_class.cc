#include "common/text/regex_class.h"

#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace tessera {
namespace {

constexpr int kDepthMax = 32;
constexpr CategoryMask kDigitMask = MaskOf(Category::kNd);
constexpr CategoryMask kWordMask =
    kLetters | kMarks | kDigitMask | MaskOf(Category::kNl) | MaskOf(Category::kPc);

absl::Status Unsupported(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("regular expression: ", std::string(what)));
}

std::string PcreNamesOf(CategoryMask mask) {
  constexpr std::pair<CategoryMask, std::string_view> kGroups[] = {
      {kLetters, "L"}, {kMarks, "M"},      {kNumbers, "N"}, {kPunctuations, "P"},
      {kSymbols, "S"}, {kSeparators, "Z"}, {kOthers, "C"}};
  std::string names;
  for (const auto& [group, name] : kGroups) {
    if ((mask & group) != group) continue;
    absl::StrAppend(&names, "\\p{", std::string(name), "}");
    mask &= ~group;
  }
  for (size_t i = 0; i < kCategoryCount; ++i) {
    if ((mask >> i & 1) != 0) {
      absl::StrAppend(&names, "\\p{", std::string(NameOf(static_cast<Category>(i))), "}");
    }
  }
  return names;
}

CodePointRanges WordRanges() { return Union(RangesOf(kWordMask), WordExtras()); }

// [[:name:]] as the reference understands it.
absl::Status AddPosixClass(std::string_view name, bool negated, const RegexTarget& target,
                           CharacterClass* out) {
  CategoryMask mask = 0;
  CodePointRanges extras;
  if (name == "digit") {
    mask = kDigitMask;
  } else if (name == "upper") {
    mask = MaskOf(Category::kLu);
  } else if (name == "lower") {
    mask = MaskOf(Category::kLl);
  } else if (name == "cntrl") {
    mask = MaskOf(Category::kCc);
  } else if (name == "space") {
    extras = SpaceRanges();
  } else if (name == "blank") {
    mask = MaskOf(Category::kZs);
    extras = {{'\t', '\t'}};
  } else if (name == "punct") {
    mask = kPunctuations | kSymbols;
  } else if (name == "word") {
    mask = kWordMask;
    extras = WordExtras();
  } else if (name == "xdigit") {
    extras = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
  } else {
    return Unsupported(absl::StrCat("the class [:", std::string(name), ":] is not supported"));
  }
  if (negated) {
    out->AddRanges(Complement(Union(RangesOf(mask), extras)));
  } else {
    out->AddRanges(extras);
    if (mask != 0) out->AddCategories(mask, target);
  }
  return absl::OkStatus();
}

absl::StatusOr<char32_t> ParseHex(std::string_view digits) {
  uint32_t value = 0;
  if (digits.empty() || digits.size() > 8)
    return Unsupported("a code point needs 1 to 8 hex digits");
  for (const char c : digits) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) {
      return Unsupported(absl::StrCat("'", std::string(digits), "' is not a hex number"));
    }
    value = value * 16 + static_cast<uint32_t>(absl::ascii_isdigit(static_cast<unsigned char>(c))
                                                   ? c - '0'
                                                   : (absl::ascii_tolower(c) - 'a') + 10);
  }
  if (value >= kCodePointEnd || (value >= 0xD800 && value < 0xE000)) {
    return Unsupported(absl::StrCat("U+", absl::Hex(value), " is no character"));
  }
  return char32_t{value};
}

// \p{...} and \P{...}; *at is at the letter.
absl::Status AddProperty(std::string_view pattern, size_t* at, const RegexTarget& target,
                         CharacterClass* out) {
  bool negated = pattern[*at] == 'P';
  const size_t close = pattern.find('}', *at);
  if (*at + 1 >= pattern.size() || pattern[*at + 1] != '{' || close == std::string_view::npos) {
    return Unsupported("\\p needs a name in braces, such as \\p{L}");
  }
  std::string_view name = pattern.substr(*at + 2, close - *at - 2);
  if (!name.empty() && name.front() == '^') {
    negated = !negated;
    name.remove_prefix(1);
  }
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-' && c != ' ') {
      return Unsupported(
          absl::StrCat("'", absl::CEscape(std::string(name)), "' is no property name"));
    }
  }
  *at = close + 1;
  const std::optional<CategoryMask> mask = FindCategories(name);
  if (!mask.has_value()) {
    out->AddPcreProperty(name, negated);
  } else if (negated) {
    out->AddNotCategories(*mask, target);
  } else {
    out->AddCategories(*mask, target);
  }
  return absl::OkStatus();
}

// The parts of a bracket that are joined by && hold one class each.
class BracketParser {
 public:
  BracketParser(std::string_view pattern, size_t* at, const RegexTarget& target, int depth)
      : pattern_(pattern), at_(*at), out_at_(*at), target_(target), depth_(depth) {}

  absl::StatusOr<std::string> Run() {
    if (depth_ > kDepthMax) return Unsupported("classes are nested too deeply");
    const bool negated = Accept("^");
    if (Peek(']') && pattern_.find(']', at_ + 1) != std::string_view::npos) {
      part_.AddRange(']', ']');  // a ']' right at the front is meant literally
      ++at_;
    }
    while (!Accept("]")) {
      if (at_ >= pattern_.size()) return Unsupported("a class is not closed with ']'");
      TESSERA_RETURN_IF_ERROR(ParseItem());
    }
    out_at_ = at_;
    if (part_.empty()) return Unsupported("a class is empty");
    if (earlier_.empty()) return part_.Expression(negated);
    std::string all;
    for (const std::string& part : earlier_) absl::StrAppend(&all, "(?=", part, ")");
    absl::StrAppend(&all, part_.Expression(false));
    return negated ? absl::StrCat("(?:(?!", all, ")(?s:.))") : absl::StrCat("(?:", all, ")");
  }

 private:
  bool Peek(char c) const { return at_ < pattern_.size() && pattern_[at_] == c; }
  bool Accept(std::string_view text) {
    if (pattern_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }

  absl::Status ParseItem() {
    if (Accept("&&")) {
      if (part_.empty()) return Unsupported("a side of && is empty");
      earlier_.push_back(part_.Expression(false));
      part_ = CharacterClass();
      return absl::OkStatus();
    }
    if (Accept("[:")) {
      const bool negated = Accept("^");
      const size_t close = pattern_.find(":]", at_);
      if (close == std::string_view::npos) return Unsupported("[: is not closed with :]");
      const std::string_view name = pattern_.substr(at_, close - at_);
      at_ = close + 2;
      return AddPosixClass(name, negated, target_, &part_);
    }
    if (Accept("[")) {
      TESSERA_ASSIGN_OR_RETURN(std::string inner,
                               TranslateBracket(pattern_, &at_, target_, depth_ + 1));
      part_.AddExpression(std::move(inner));
      return absl::OkStatus();
    }
    if (Peek('\\')) {
      size_t behind = at_ + 1;
      TESSERA_ASSIGN_OR_RETURN(const bool is_set,
                               TranslateSetEscape(pattern_, &behind, target_, &part_));
      if (is_set) {
        at_ = behind;
        return absl::OkStatus();
      }
    }
    TESSERA_ASSIGN_OR_RETURN(const char32_t first, ParseCharacter());
    char32_t last = first;
    if (Peek('-') && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']') {
      ++at_;
      TESSERA_ASSIGN_OR_RETURN(last, ParseCharacter());
      if (last < first) return Unsupported("a range in a class runs backwards");
    }
    part_.AddRange(first, last);
    return absl::OkStatus();
  }

  absl::StatusOr<char32_t> ParseCharacter() {
    if (Accept("\\")) return TranslateCharacterEscape(pattern_, &at_);
    return NextCodePoint(pattern_, &at_);
  }

  std::string_view pattern_;
  size_t at_;
  size_t& out_at_;
  const RegexTarget& target_;
  int depth_;
  CharacterClass part_;
  std::vector<std::string> earlier_;
};

}  // namespace

std::string LiteralOf(char32_t c) {
  if (c < 0x80) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte)) return std::string(1, static_cast<char>(c));
    if (absl::ascii_isgraph(byte)) return {'\\', static_cast<char>(c)};
  }
  return absl::StrCat("\\x{", absl::Hex(static_cast<uint32_t>(c)), "}");
}

void CharacterClass::AddRange(char32_t first, char32_t last) {
  absl::StrAppend(&bracket_, LiteralOf(first));
  if (last > first) absl::StrAppend(&bracket_, "-", LiteralOf(last));
}

void CharacterClass::AddRanges(const CodePointRanges& ranges) {
  for (const auto& [first, last] : ranges) AddRange(first, last);
}

void CharacterClass::AddCategories(CategoryMask mask, const RegexTarget& target) {
  const CategoryDifference difference = DifferenceFromUnicode14(mask);
  if (!target.is_unicode_14 || !difference.removed.empty()) return AddRanges(RangesOf(mask));
  // ASCII members stand in front: PCRE2 tests them in a bitmap before it looks at properties.
  for (const auto& [first, last] : RangesOf(mask)) {
    if (last < 0x80) AddRange(first, last);
  }
  absl::StrAppend(&bracket_, PcreNamesOf(mask));
  AddRanges(difference.added);
}

void CharacterClass::AddNotCategories(CategoryMask mask, const RegexTarget& target) {
  CharacterClass members;
  members.AddCategories(mask, target);
  AddExpression(members.Expression(/*negated=*/true));
}

void CharacterClass::AddPcreProperty(std::string_view name, bool negated) {
  absl::StrAppend(&bracket_, negated ? "\\P{" : "\\p{", std::string(name), "}");
}

std::string CharacterClass::Expression(bool negated) const {
  if (others_.empty()) return absl::StrCat(negated ? "[^" : "[", bracket_, "]");
  std::string all = absl::StrJoin(others_, "|");
  if (!bracket_.empty()) all = absl::StrCat("[", bracket_, "]|", all);
  if (negated) return absl::StrCat("(?:(?!", all, ")(?s:.))");
  return others_.size() == 1 && bracket_.empty() ? all : absl::StrCat("(?:", all, ")");
}

absl::StatusOr<std::string> TranslateBracket(std::string_view pattern, size_t* at,
                                             const RegexTarget& target, int depth) {
  return BracketParser(pattern, at, target, depth).Run();
}

absl::StatusOr<bool> TranslateSetEscape(std::string_view pattern, size_t* at,
                                        const RegexTarget& target, CharacterClass* out) {
  if (*at >= pattern.size()) return Unsupported("it ends in a backslash");
  switch (pattern[*at]) {
    case 'd':
      out->AddCategories(kDigitMask, target);
      break;
    case 'D':
      out->AddNotCategories(kDigitMask, target);
      break;
    case 's':
      out->AddRanges(SpaceRanges());
      break;
    case 'S':
      out->AddRanges(Complement(SpaceRanges()));
      break;
    case 'w':
      out->AddRanges(WordExtras());
      out->AddCategories(kWordMask, target);
      break;
    case 'W':
      out->AddRanges(Complement(WordRanges()));
      break;
    case 'h':
      out->AddRanges({{'0', '9'}, {'A', 'F'}, {'a', 'f'}});
      break;
    case 'H':
      out->AddRanges(Complement({{'0', '9'}, {'A', 'F'}, {'a', 'f'}}));
      break;
    case 'p':
    case 'P':
      TESSERA_RETURN_IF_ERROR(AddProperty(pattern, at, target, out));
      return true;
    default:
      return false;
  }
  ++*at;
  return true;
}

absl::StatusOr<char32_t> TranslateCharacterEscape(std::string_view pattern, size_t* at) {
  if (*at >= pattern.size()) return Unsupported("it ends in a backslash");
  const char32_t c = NextCodePoint(pattern, at);
  constexpr std::string_view kNames = "tnrfvae";
  constexpr std::string_view kValues = "\t\n\r\f\v\a\x1b";
  if (c < 0x80) {
    const size_t known = kNames.find(static_cast<char>(c));
    if (known != std::string_view::npos) return static_cast<char32_t>(kValues[known]);
  }
  if (c == 'x' && pattern.substr(*at, 1) == "{") {
    const size_t close = std::min(pattern.find('}', *at), pattern.size());
    TESSERA_ASSIGN_OR_RETURN(const char32_t value,
                             ParseHex(pattern.substr(*at + 1, close - *at - 1)));
    *at = std::min(close + 1, pattern.size());
    return value;
  }
  if (c == 'x' || c == 'u') {
    const size_t digits = c == 'x' ? 2 : 4;
    TESSERA_ASSIGN_OR_RETURN(const char32_t value, ParseHex(pattern.substr(*at, digits)));
    if (c == 'x' && value >= 0x80) return Unsupported("\\x80 and above are bytes, not characters");
    *at = std::min(*at + digits, pattern.size());
    return value;
  }
  if (c < 0x80 && absl::ascii_isalnum(static_cast<unsigned char>(c))) {
    return Unsupported(
        absl::StrCat("\\", std::string(1, static_cast<char>(c)), " is not supported here"));
  }
  return c;
}

}  // namespace tessera
