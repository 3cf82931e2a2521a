#include "services/trainer/corpus/draw.h"

#include <array>

#include "absl/strings/ascii.h"
#include "services/trainer/corpus/lexicon.h"

namespace tessera::trainer {
namespace {

constexpr std::array<std::string_view, 22> kOnsets = {"b", "d",  "f",  "g",  "h",  "j", "k", "l",
                                                      "m", "n",  "p",  "r",  "s",  "t", "v", "w",
                                                      "z", "br", "dr", "kr", "pl", "st"};
constexpr std::array<std::string_view, 12> kVowels = {"a", "e", "i", "o", "u",  "a",
                                                      "e", "i", "o", "u", "ai", "ou"};
constexpr std::array<std::string_view, 10> kCodas = {"", "", "", "n", "r", "s", "l", "t", "m", "k"};

}  // namespace

// FNV-1a, then mixed: the split must not change with the library's hash.
uint64_t HashText(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return MixBits(hash);
}

bool IsHeldOut(std::string_view text) { return HashText(text) % 8 == 0; }

bool LooksMadeUp(std::string_view word) {
  if (word.size() < 3 || word.size() > 15) return false;
  const std::string text = absl::AsciiStrToLower(std::string(word));
  // reached[i]: the first i letters are whole syllables.
  std::vector<bool> reached(text.size() + 1, false);
  reached[0] = true;
  for (size_t at = 0; at < text.size(); ++at) {
    if (!reached[at]) continue;
    for (const std::string_view onset : kOnsets) {
      if (!std::string_view(text).substr(at).starts_with(onset)) continue;
      for (const std::string_view vowel : kVowels) {
        const size_t after_onset = at + onset.size();
        if (!std::string_view(text).substr(after_onset).starts_with(vowel)) continue;
        const size_t after_vowel = after_onset + vowel.size();
        for (const std::string_view coda : kCodas) {
          if (std::string_view(text).substr(after_vowel).starts_with(coda)) {
            reached[after_vowel + coda.size()] = true;
          }
        }
      }
    }
  }
  return reached.back();
}

std::string Draw::Word(size_t syllables_min, size_t syllables_max) {
  while (true) {
    std::string word;
    size_t syllables = Between(syllables_min, syllables_max);
    if (syllables == 3 && Chance(0.6)) syllables = 2;  // most names are short
    for (size_t i = 0; i < syllables; ++i) {
      word += Of(kOnsets);
      word += Of(kVowels);
      word += Of(kCodas);
    }
    if (word.size() >= 3 && IsHeldOut(word) == (split_ == Split::kHeldOut)) return word;
  }
}

std::string Draw::Capitalised() {
  std::string word = Word(1, 3);
  word[0] = absl::ascii_toupper(static_cast<unsigned char>(word[0]));
  return word;
}

std::string Draw::AnyWord() {
  return split_ == Split::kHeldOut || Chance(0.5) ? Word(1, 3) : Of(CommonWords());
}

std::string Draw::Digits(size_t count) {
  std::string digits;
  for (size_t i = 0; i < count; ++i) {
    const size_t low = i == 0 && count > 1 ? 1 : 0;
    digits += static_cast<char>('0' + Between(low, 9));
  }
  return digits;
}

}  // namespace tessera::trainer
