#include "common/base/utf8.h"

#include <cstring>

namespace tessera {
namespace {

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// The bytes that may follow lead byte `lead` as the second one (Unicode, table 3-7); length 0: no
// lead byte.
struct LeadRule {
  size_t length;
  unsigned char second_min;
  unsigned char second_max;
};

LeadRule RuleOf(unsigned char lead) {
  if (lead < 0x80) return {1, 0, 0};
  if (lead < 0xC2) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead < 0xF0) return {3, 0x80, 0xBF};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead < 0xF4) return {4, 0x80, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

size_t CharacterLength(std::string_view text, size_t* broken, bool* cut) {
  *broken = 1;
  *cut = false;
  const LeadRule rule = RuleOf(static_cast<unsigned char>(text[0]));
  if (rule.length <= 1) return rule.length;
  for (size_t i = 1; i < rule.length; ++i) {
    if (i == text.size()) {
      *cut = true;
      return 0;
    }
    const auto b = static_cast<unsigned char>(text[i]);
    const bool good =
        i == 1 ? b >= rule.second_min && b <= rule.second_max : IsContinuation(text[i]);
    if (!good) return 0;
    *broken = i + 1;
  }
  return rule.length;
}

size_t FindInvalidUtf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    uint64_t word;
    if (at + sizeof(word) <= text.size()) {
      std::memcpy(&word, text.data() + at, sizeof(word));
      if ((word & 0x8080808080808080u) == 0) {
        at += sizeof(word);
        continue;
      }
    }
    size_t broken;
    bool cut;
    const size_t length = CharacterLength(text.substr(at), &broken, &cut);
    if (length == 0) return at;
    at += length;
  }
  return std::string_view::npos;
}

void AppendUtf8(char32_t c, std::string* out) {
  const auto put = [out](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::string ToUtf8(char32_t c) {
  std::string out;
  AppendUtf8(c, &out);
  return out;
}

size_t AppendLossy(std::string_view bytes, bool final, std::string* out) {
  size_t at = 0;
  while (at < bytes.size()) {
    size_t broken;
    bool cut;
    const size_t length = CharacterLength(bytes.substr(at), &broken, &cut);
    if (length > 0) {
      out->append(bytes.substr(at, length));
      at += length;
      continue;
    }
    if (cut && !final) break;
    AppendUtf8(kReplacementCharacter, out);
    at += broken;
  }
  return at;
}

}  // namespace tessera
