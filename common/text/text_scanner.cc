#include "common/text/text_scanner.h"

#include <array>
#include <utility>

#include "common/base/utf8.h"

namespace tessera {
namespace {

using PropertiesPtr = std::shared_ptr<const UnicodeProperties>;

// What a scanner of words asks about a character.
enum CharacterBit : uint8_t {
  kWordBit = 1,     // stands in words
  kPrefixBit = 2,   // may stand alone before a word
  kDigitBit = 4,    // stands in numbers
  kSymbolBit = 8,   // stands in runs of symbols
  kSpaceBit = 16,   // \s
  kNewlineBit = 32  // \r or \n
};

// GPT-2's expression and its descendants: alternatives that are tried in this order.
//   [ASCII symbol][A-Za-z]+    if symbol_words
//   's 't 're 've 'm 'll 'd    by contractions
//   (prefix)?(word)+           prefix: a space, or any_prefix: what is neither \r, \n nor one of
//   not_prefix (digit){1,digits_max}      if digits_max > 0; a space may stand before if
//   spaced_digits
//    ?(symbol)+[\r\n]*         the newlines if symbols_take_newlines
//   \s*[\r\n]+                 if newline_runs
//   \s+(?!\S) and \s+
struct WordRules {
  enum class Contractions : uint8_t { kNone, kSensitive, kInsensitive };

  bool symbol_words = false;
  Contractions contractions = Contractions::kNone;
  CategoryMask word = kLetters;
  bool any_prefix = false;
  CategoryMask not_prefix = 0;
  CategoryMask digit = kNumbers;
  size_t digits_max = 0;
  bool spaced_digits = false;
  CategoryMask symbol = 0;  // 0: all but white space, word and digit
  bool symbols_take_newlines = true;
  bool newline_runs = true;
};

bool IsAsciiLetter(char c) {
  const auto lower = static_cast<unsigned char>(c | 0x20);
  return lower >= 'a' && lower <= 'z';
}

class WordScanner : public TextScanner {
 public:
  WordScanner(const WordRules& rules, PropertiesPtr properties)
      : rules_(rules), properties_(std::move(properties)) {
    for (size_t info = 0; info < bits_.size(); ++info) {
      const auto category = static_cast<Category>(info & 31);
      if (info % 32 >= kCategoryCount) continue;
      bits_[info] =
          BitsOf(MaskOf(category), UnicodeProperties::IsSpaceInfo(static_cast<uint8_t>(info)));
    }
    for (char32_t c = 0; c < ascii_.size(); ++c) ascii_[c] = bits_[properties_->InfoOf(c)];
    for (const char c : {'\r', '\n'}) {
      uint8_t& bits = ascii_[static_cast<size_t>(c)];
      bits = static_cast<uint8_t>((bits | kNewlineBit) & ~kPrefixBit);
    }
    if (!rules_.any_prefix) ascii_[' '] |= kPrefixBit;
  }

  void FindAll(std::string_view text, std::vector<TextSpan>* matches) const override {
    for (size_t at = 0; at < text.size();) {
      const size_t end = MatchAt(text, at);
      if (end > at) {
        matches->push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(end)});
        at = end;
      } else {
        at += LengthOfLead(text[at]);
      }
    }
  }

 private:
  uint8_t BitsOf(CategoryMask category, bool is_space) const {
    uint8_t bits = 0;
    if ((category & rules_.word) != 0) bits |= kWordBit;
    if (rules_.any_prefix && (category & rules_.not_prefix) == 0) bits |= kPrefixBit;
    if ((category & rules_.digit) != 0) bits |= kDigitBit;
    const bool is_symbol = rules_.symbol != 0
                               ? (category & rules_.symbol) != 0
                               : !is_space && (category & (rules_.word | rules_.digit)) == 0;
    if (is_symbol) bits |= kSymbolBit;
    if (is_space) bits |= kSpaceBit;
    return bits;
  }

  // The bits of the character at *at, which moves behind it.
  uint8_t Next(std::string_view text, size_t* at) const {
    const auto lead = static_cast<unsigned char>(text[*at]);
    if (lead < 0x80) {
      ++*at;
      return ascii_[lead];
    }
    return bits_[properties_->InfoOf(NextCodePoint(text, at))];
  }

  // End of the longest run from `at` of characters with `bit`, at most `count_max`.
  size_t RunEnd(std::string_view text, size_t at, uint8_t bit, size_t count_max = SIZE_MAX) const {
    for (size_t count = 0; at < text.size() && count < count_max; ++count) {
      size_t next = at;
      if ((Next(text, &next) & bit) == 0) break;
      at = next;
    }
    return at;
  }

  // End of the match that begins at `at`; `at` if there is none.
  size_t MatchAt(std::string_view text, size_t at) const {
    size_t second = at;
    const uint8_t first = Next(text, &second);
    if (rules_.symbol_words || rules_.contractions != WordRules::Contractions::kNone) {
      if (const size_t end = MatchAsciiWord(text, at); end > at) return end;
    }
    if ((first & kPrefixBit) != 0) {
      if (const size_t end = RunEnd(text, second, kWordBit); end > second) return end;
    }
    if ((first & kWordBit) != 0) return RunEnd(text, second, kWordBit);
    const bool is_space_character = text[at] == ' ';
    if (rules_.digits_max > 0) {
      const size_t begin = rules_.spaced_digits && is_space_character ? second : at;
      if (const size_t end = RunEnd(text, begin, kDigitBit, rules_.digits_max); end > begin)
        return end;
    }
    const size_t symbols = is_space_character ? second : at;
    if (const size_t end = RunEnd(text, symbols, kSymbolBit); end > symbols) {
      return rules_.symbols_take_newlines ? RunEnd(text, end, kNewlineBit) : end;
    }
    return (first & kSpaceBit) != 0 ? MatchSpace(text, at) : at;
  }

  size_t MatchAsciiWord(std::string_view text, size_t at) const {
    const char c = text[at];
    if (rules_.symbol_words) {
      const bool is_symbol = c > ' ' && c < 0x7F && !IsAsciiLetter(c) && !(c >= '0' && c <= '9');
      size_t end = at + 1;
      while (is_symbol && end < text.size() && IsAsciiLetter(text[end])) ++end;
      if (end > at + 1) return end;
    }
    if (rules_.contractions != WordRules::Contractions::kNone && c == '\'') {
      return at + ContractionLength(text.substr(at));
    }
    return at;
  }

  // Length of 's 't 're 've 'm 'll or 'd at the front; 0 if there is none.
  size_t ContractionLength(std::string_view text) const {
    const bool folds = rules_.contractions == WordRules::Contractions::kInsensitive;
    const auto letter = [&](size_t i) {
      if (i >= text.size()) return '\0';
      return folds && IsAsciiLetter(text[i]) ? static_cast<char>(text[i] | 0x20) : text[i];
    };
    switch (letter(1)) {
      case 's':
      case 't':
      case 'm':
      case 'd':
        return 2;
      case 'r':
      case 'v':
        return letter(2) == 'e' ? 3 : 0;
      case 'l':
        return letter(2) == 'l' ? 3 : 0;
      default:
        // The long s is an s where case does not count.
        return folds && text.substr(1, 2) == "\u017F" ? 3 : 0;
    }
  }

  // The alternatives of white space; text[at] is white space.
  size_t MatchSpace(std::string_view text, size_t at) const {
    size_t end = at;
    size_t last = at;          // start of the last character of the run
    size_t newlines_end = at;  // behind the last newline of the run
    while (end < text.size()) {
      size_t next = end;
      const uint8_t bits = Next(text, &next);
      if ((bits & kSpaceBit) == 0) break;
      if ((bits & kNewlineBit) != 0) newlines_end = next;
      last = end;
      end = next;
    }
    if (rules_.newline_runs && newlines_end > at) return newlines_end;
    if (end == text.size()) return end;
    return last > at ? last : end;
  }

  const WordRules rules_;
  const PropertiesPtr properties_;
  std::array<uint8_t, 256> bits_ = {};  // by UnicodeProperties::InfoOf
  std::array<uint8_t, 128> ascii_ = {};
};

// Runs of decimal digits, cut from the right into chunks of 510.
class DigitChunkScanner : public TextScanner {
 public:
  explicit DigitChunkScanner(PropertiesPtr properties) : properties_(std::move(properties)) {}

  void FindAll(std::string_view text, std::vector<TextSpan>* matches) const override {
    std::vector<uint32_t> starts;  // of the digits of a run
    for (size_t at = 0; at < text.size();) {
      starts.clear();
      size_t next = at;
      while (next < text.size()) {
        const size_t begin = next;
        if (!properties_->IsIn(NextCodePoint(text, &next), MaskOf(Category::kNd))) {
          at = next;
          next = begin;
          break;
        }
        starts.push_back(static_cast<uint32_t>(begin));
        at = next;
      }
      if (starts.empty()) continue;
      const auto end = static_cast<uint32_t>(next);
      size_t chunk = 0;
      for (size_t size = (starts.size() - 1) % kChunk + 1; chunk < starts.size(); size = kChunk) {
        const size_t behind = chunk + size;
        matches->push_back({starts[chunk], behind < starts.size() ? starts[behind] : end});
        chunk = behind;
      }
    }
  }

 private:
  static constexpr size_t kChunk = 510;
  const PropertiesPtr properties_;
};

// The first one or two digits of a text of digits, so that the rest are threes.
class LeadingDigitScanner : public TextScanner {
 public:
  explicit LeadingDigitScanner(PropertiesPtr properties) : properties_(std::move(properties)) {}

  void FindAll(std::string_view text, std::vector<TextSpan>* matches) const override {
    size_t ends[3] = {};  // behind the first and the second digit
    size_t count = 0;
    for (size_t at = 0; at < text.size();) {
      if (!properties_->IsIn(NextCodePoint(text, &at), MaskOf(Category::kNd))) return;
      if (++count <= 2) ends[count] = at;
    }
    if (count > 3 && count % 3 != 0)
      matches->push_back({0, static_cast<uint32_t>(ends[count % 3])});
  }

 private:
  const PropertiesPtr properties_;
};

// Threes of digits from the beginning on, as long as there are.
class DigitTripleScanner : public TextScanner {
 public:
  explicit DigitTripleScanner(PropertiesPtr properties) : properties_(std::move(properties)) {}

  void FindAll(std::string_view text, std::vector<TextSpan>* matches) const override {
    size_t at = 0;
    while (at < text.size()) {
      const size_t begin = at;
      for (int i = 0; i < 3; ++i) {
        if (at == text.size()) return;
        if (!properties_->IsIn(NextCodePoint(text, &at), MaskOf(Category::kNd))) return;
      }
      matches->push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(at)});
    }
  }

 private:
  const PropertiesPtr properties_;
};

// Runs of one of six groups of scripts.
class ScriptRunScanner : public TextScanner {
 public:
  void FindAll(std::string_view text, std::vector<TextSpan>* matches) const override {
    int open = 0;
    size_t open_at = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      // No group has characters below U+0E00: no lead byte below E0.
      const int group = static_cast<unsigned char>(text[at]) < 0xE0
                            ? (at += LengthOfLead(text[at]), 0)
                            : GroupOf(NextCodePoint(text, &at));
      if (group == open) continue;
      if (open != 0)
        matches->push_back({static_cast<uint32_t>(open_at), static_cast<uint32_t>(begin)});
      open = group;
      open_at = begin;
    }
    if (open != 0)
      matches->push_back({static_cast<uint32_t>(open_at), static_cast<uint32_t>(text.size())});
  }

 private:
  static int GroupOf(char32_t c) {
    struct Range {
      char32_t first;
      char32_t last;
      int group;
    };
    constexpr Range kRanges[] = {{0x0E00, 0x0E7F, 2}, {0x0E80, 0x0EFF, 3}, {0x1000, 0x109F, 5},
                                 {0x1100, 0x11FF, 6}, {0x1780, 0x17FF, 4}, {0x2F00, 0x2FDF, 1},
                                 {0x3040, 0x30FF, 1}, {0x3400, 0x4DBF, 1}, {0x4E00, 0x9FFF, 1},
                                 {0xA9E0, 0xA9FF, 5}, {0xAA60, 0xAA7F, 5}, {0xAC00, 0xD7AF, 6},
                                 {0xF900, 0xFAFF, 1}, {0xFF65, 0xFF9F, 1}};
    for (const Range& range : kRanges) {
      if (c <= range.last) return c >= range.first ? range.group : 0;
    }
    return 0;
  }
};

constexpr std::string_view kDigitChunks =
    R"(\p{Nd}{1,510}(?=(?>\p{Nd}{510})*(?:\P{Nd}|$))|\G\p{Nd}{510})";
constexpr std::string_view kLeadingDigits = R"(\A\p{Nd}{1,2}(?=\p{Nd}{3}+\z))";
constexpr std::string_view kDigitTriples = R"(\A\p{Nd}{3}|\G\p{Nd}{3})";
constexpr std::string_view kScriptRuns =
    R"((?:[\u4E00-\u9FFF\u3040-\u309F\u30A0-\u30FF\u3400-\u4DBF\uf900-\uFAFF\uFF65-\uFF9F\u2F00-\u2FDF]+|[\u0E00-\u0E7F]+|[\u0E80-\u0EFF]+|[\u1780-\u17FF]+|[\u1000-\u109F\uAA60-\uAA7F\uA9E0-\uA9FF]+|[\uAC00-\uD7AF\u1100-\u11FF]+))";

struct KnownWords {
  std::string_view regex;
  WordRules rules;
};

std::array<KnownWords, 4> WordFamilies() {
  const WordRules marks_and_symbols = {.symbol_words = true,
                                       .word = kLetters | kMarks,
                                       .any_prefix = true,
                                       .not_prefix = kLetters | kPunctuations | kSymbols,
                                       .symbol = kPunctuations | kSymbols};
  const WordRules gpt2 = {.contractions = WordRules::Contractions::kSensitive,
                          .digits_max = SIZE_MAX,
                          .spaced_digits = true,
                          .symbols_take_newlines = false,
                          .newline_runs = false};
  WordRules one_digit = {.contractions = WordRules::Contractions::kInsensitive,
                         .any_prefix = true,
                         .not_prefix = kLetters | kNumbers,
                         .digits_max = 1};
  WordRules three_digits = one_digit;
  three_digits.digits_max = 3;
  return {
      {{"[!\"#$%&'()*+,\\-./"
        ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
        "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
        marks_and_symbols},
       {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", gpt2},
       {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
        one_digit},
       {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
        three_digits}}};
}

}  // namespace

std::unique_ptr<const TextScanner> TextScanner::ForRegex(std::string_view regex,
                                                         PropertiesPtr properties) {
  if (regex == kDigitChunks)
    return std::make_unique<const DigitChunkScanner>(std::move(properties));
  if (regex == kLeadingDigits) {
    return std::make_unique<const LeadingDigitScanner>(std::move(properties));
  }
  if (regex == kDigitTriples) {
    return std::make_unique<const DigitTripleScanner>(std::move(properties));
  }
  if (regex == kScriptRuns) return std::make_unique<const ScriptRunScanner>();
  for (const KnownWords& family : WordFamilies()) {
    if (regex == family.regex) {
      return std::make_unique<const WordScanner>(family.rules, std::move(properties));
    }
  }
  return nullptr;
}

std::vector<std::string_view> TextScanner::KnownRegexes() {
  std::vector<std::string_view> regexes = {kDigitChunks, kLeadingDigits, kDigitTriples,
                                           kScriptRuns};
  for (const KnownWords& family : WordFamilies()) regexes.push_back(family.regex);
  return regexes;
}

}  // namespace tessera
