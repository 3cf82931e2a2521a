#include "common/text/normal_forms.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "common/base/utf8.h"
#include "common/text/unicode_tables.h"

namespace tessera {
namespace {

// Hangul syllables are composed by arithmetic (Unicode, section 3.12).
constexpr char32_t kSyllableBase = 0xAC00;
constexpr char32_t kLeadBase = 0x1100;
constexpr char32_t kVowelBase = 0x1161;
constexpr char32_t kTailBase = 0x11A7;
constexpr char32_t kLeadCount = 19;
constexpr char32_t kVowelCount = 21;
constexpr char32_t kTailCount = 28;
constexpr char32_t kSyllableCount = kLeadCount * kVowelCount * kTailCount;

uint64_t PairKey(char32_t first, char32_t second) {
  return uint64_t{first} << 32 | uint64_t{second};
}

using Decompositions = absl::flat_hash_map<char32_t, std::u32string>;

void ReadDecompositions(const char* table, Decompositions* out) {
  PackedNumbers numbers(table);
  char32_t c = 0;
  while (numbers.more()) {
    c += numbers.Next();
    std::u32string& to = (*out)[c];
    to.resize(numbers.Next());
    for (char32_t& part : to) part = numbers.Next();
  }
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

FormNormalizer::FormNormalizer(NormalForm form) : form_(form) {
  ReadDecompositions(kPackedCanonical, &decompositions_);
  if (form == NormalForm::kNfkc || form == NormalForm::kNfkd) {
    ReadDecompositions(kPackedCompatible, &decompositions_);
  }
  PackedNumbers classes(kPackedCombiningClasses);
  char32_t c = 0;
  while (classes.more()) {
    c += classes.Next();
    const uint32_t length = classes.Next();
    const auto combining_class = static_cast<uint8_t>(classes.Next());
    for (const char32_t end = c + length; c < end; ++c) {
      combining_classes_[c] = combining_class;
      unsettled_.insert(c);
    }
  }
  for (const auto& [from, to] : decompositions_) unsettled_.insert(from);
  if (!Composes()) return;

  PackedNumbers pairs(kPackedCompositions);
  c = 0;
  while (pairs.more()) {
    c += pairs.Next();
    const char32_t first = pairs.Next();
    const char32_t second = pairs.Next();
    composites_[PairKey(first, second)] = c;
    unsettled_.insert(second);
    // A composite decomposes and comes back; alone it is as good as inert.
    if (const auto it = decompositions_.find(c);
        it != decompositions_.end() && !combining_classes_.contains(c)) {
      unsettled_.erase(c);
    }
  }
  pairs = PackedNumbers(kPackedCompositions);
  while (pairs.more()) {  // composites that are seconds themselves
    pairs.Next();
    pairs.Next();
    unsettled_.insert(pairs.Next());
  }
}

uint8_t FormNormalizer::CombiningClassOf(char32_t c) const {
  if (c < 0x300) return 0;
  const auto it = combining_classes_.find(c);
  return it == combining_classes_.end() ? 0 : it->second;
}

bool FormNormalizer::IsInert(char32_t c) const {
  if (c < 0x80) return true;
  if (c >= kLeadBase && c < 0x1200) return false;  // jamo
  if (c >= kSyllableBase && c < kSyllableBase + kSyllableCount) return Composes();
  return !unsettled_.contains(c);
}

void FormNormalizer::Decompose(char32_t c, std::vector<Mark>* out) const {
  if (c >= kSyllableBase && c < kSyllableBase + kSyllableCount) {
    const char32_t index = c - kSyllableBase;
    out->push_back({kLeadBase + index / (kVowelCount * kTailCount), 0});
    out->push_back({kVowelBase + index / kTailCount % kVowelCount, 0});
    if (index % kTailCount != 0) out->push_back({kTailBase + index % kTailCount, 0});
    return;
  }
  const auto it = c < 0x80 ? decompositions_.end() : decompositions_.find(c);
  if (it == decompositions_.end()) {
    out->push_back({c, CombiningClassOf(c)});
    return;
  }
  for (const char32_t part : it->second) out->push_back({part, CombiningClassOf(part)});
}

void FormNormalizer::Order(std::vector<Mark>* marks) {
  for (auto it = marks->begin(); it != marks->end();) {
    if (it->combining_class == 0) {
      ++it;
      continue;
    }
    const auto end =
        std::find_if(it, marks->end(), [](const Mark& m) { return m.combining_class == 0; });
    std::stable_sort(it, end, [](const Mark& a, const Mark& b) {
      return a.combining_class < b.combining_class;
    });
    it = end;
  }
}

char32_t FormNormalizer::Composite(char32_t first, char32_t second) const {
  if (first >= kLeadBase && first < kLeadBase + kLeadCount && second >= kVowelBase &&
      second < kVowelBase + kVowelCount) {
    return kSyllableBase + ((first - kLeadBase) * kVowelCount + (second - kVowelBase)) * kTailCount;
  }
  if (first >= kSyllableBase && first < kSyllableBase + kSyllableCount &&
      (first - kSyllableBase) % kTailCount == 0 && second > kTailBase &&
      second < kTailBase + kTailCount) {
    return first + (second - kTailBase);
  }
  const auto it = composites_.find(PairKey(first, second));
  return it == composites_.end() ? 0 : it->second;
}

void FormNormalizer::Compose(std::vector<Mark>* marks) const {
  size_t starter = marks->size();  // none yet
  size_t kept = 0;
  for (size_t i = 0; i < marks->size(); ++i) {
    const Mark mark = (*marks)[i];
    if (starter < kept) {
      // Blocked if something of the same or a higher class, or a starter, stands between.
      const bool is_next = kept == starter + 1;
      const uint8_t last_class = (*marks)[kept - 1].combining_class;
      if (is_next || (last_class != 0 && last_class < mark.combining_class)) {
        if (const char32_t c = Composite((*marks)[starter].c, mark.c); c != 0) {
          (*marks)[starter].c = c;
          continue;
        }
      }
    }
    if (mark.combining_class == 0) starter = kept;
    (*marks)[kept++] = mark;
  }
  marks->resize(kept);
}

void FormNormalizer::AppendRegion(std::string_view region, std::vector<Mark>* scratch,
                                  std::string* out) const {
  scratch->clear();
  for (size_t at = 0; at < region.size();) Decompose(NextCodePoint(region, &at), scratch);
  Order(scratch);
  if (Composes()) Compose(scratch);
  for (const Mark& mark : *scratch) AppendUtf8(mark.c, out);
}

void FormNormalizer::Apply(std::string_view text, std::string* out) const {
  out->clear();
  if (IsAscii(text)) {
    out->assign(text);
    return;
  }
  std::vector<Mark> scratch;
  size_t copied = 0;      // text before this is in `out`
  size_t last_inert = 0;  // start of the last inert character: marks behind it may join it
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (IsInert(NextCodePoint(text, &at))) {
      last_inert = begin;
      continue;
    }
    const size_t region = std::max(copied, last_inert);
    size_t end = at;
    while (end < text.size()) {
      size_t next = end;
      if (IsInert(NextCodePoint(text, &next))) break;
      end = next;
    }
    out->append(text.substr(copied, region - copied));
    AppendRegion(text.substr(region, end - region), &scratch, out);
    copied = last_inert = at = end;
  }
  out->append(text.substr(copied));
}

LowercaseMap::LowercaseMap() {
  PackedNumbers numbers(kPackedLowercase);
  char32_t c = 0;
  while (numbers.more()) {
    c += numbers.Next();
    const uint32_t zigzag = numbers.Next();
    map_[c] = zigzag % 2 == 0 ? c + zigzag / 2 : c - (zigzag + 1) / 2;
  }
}

void LowercaseMap::Apply(std::string_view text, std::string* out) const {
  out->clear();
  out->reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const char32_t c = NextCodePoint(text, &at);
    if (c < 0x80) {
      out->push_back(absl::ascii_tolower(static_cast<unsigned char>(c)));
    } else if (c == 0x130) {  // the only one with two characters: i and a dot above
      out->append("i\u0307");
    } else {
      const auto it = map_.find(c);
      AppendUtf8(it == map_.end() ? c : it->second, out);
    }
  }
}

MarkSet::MarkSet() {
  ForEachRun(kPackedMarks, [this](uint32_t start, uint32_t length) {
    for (uint32_t c = start; c < start + length; ++c) marks_.insert(c);
  });
}

void MarkSet::Remove(std::string_view text, std::string* out) const {
  out->clear();
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = NextCodePoint(text, &at);
    if (c < 0x80 || !marks_.contains(c)) out->append(text.substr(begin, at - begin));
  }
}

}  // namespace tessera
