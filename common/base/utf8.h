#pragma once

// UTF-8: validated once where text enters, then walked without checks.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

constexpr char32_t kCodePointEnd = 0x110000;
constexpr char32_t kReplacementCharacter = 0xFFFD;

// Offset of the first byte that is not part of a well-formed character; npos if all is well-formed.
size_t FindInvalidUtf8(std::string_view text);

// Length of the well-formed character at the front of `text`; 0 if there is none. Then
// *broken is the length of the longest front that could have begun one (at least 1), and
// *cut tells whether more bytes could complete it.
size_t CharacterLength(std::string_view text, size_t* broken, bool* cut);

// Bytes of the character that starts with `lead` (of well-formed text).
inline size_t LengthOfLead(char lead) {
  const auto b = static_cast<unsigned char>(lead);
  return b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
}

// The character at *at of well-formed text; moves *at behind it. *at < text.size().
inline char32_t NextCodePoint(std::string_view text, size_t* at) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data()) + *at;
  if (p[0] < 0x80) {
    *at += 1;
    return p[0];
  }
  if (p[0] < 0xE0) {
    *at += 2;
    return (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu);
  }
  if (p[0] < 0xF0) {
    *at += 3;
    return (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
  }
  *at += 4;
  return (p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
}

// Start of the character that ends before `end` (of well-formed text; end > 0).
inline size_t PreviousStart(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

void AppendUtf8(char32_t c, std::string* out);
std::string ToUtf8(char32_t c);

// Appends `bytes` with every maximal broken sequence replaced by U+FFFD. With `final` false a
// character that is cut off at the end stays in place of being replaced; returns the bytes
// consumed.
size_t AppendLossy(std::string_view bytes, bool final, std::string* out);

}  // namespace tessera
