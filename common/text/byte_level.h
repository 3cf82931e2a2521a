#pragma once

// The byte-level alphabet: each byte is written as one printable character, so that vocabularies
// are text. Bytes 21-7E, A1-AC and AE-FF (hex) are the character of the same number; the other 68
// are U+0100 on, in order.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/utf8.h"

namespace tessera {

constexpr bool IsPrintableByte(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<char32_t, 256> MakeByteCharacters() {
  std::array<char32_t, 256> table = {};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    table[static_cast<size_t>(byte)] = IsPrintableByte(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return table;
}
inline constexpr std::array<char32_t, 256> kByteCharacters = MakeByteCharacters();

constexpr std::array<int16_t, 0x144> MakeBytesOfCharacters() {
  std::array<int16_t, 0x144> table = {};
  for (int16_t& byte : table) byte = -1;
  for (size_t byte = 0; byte < 256; ++byte)
    table[kByteCharacters[byte]] = static_cast<int16_t>(byte);
  return table;
}
// Byte of a character of the alphabet, or -1.
inline constexpr std::array<int16_t, 0x144> kBytesOfCharacters = MakeBytesOfCharacters();

inline std::string ToByteLevel(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) AppendUtf8(kByteCharacters[static_cast<unsigned char>(byte)], &out);
  return out;
}

// The bytes that `text` (well-formed UTF-8) stands for; nothing if a character is not of the
// alphabet.
inline std::optional<std::string> FromByteLevel(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = NextCodePoint(text, &at);
    if (c >= kBytesOfCharacters.size() || kBytesOfCharacters[c] < 0) return std::nullopt;
    out.push_back(static_cast<char>(kBytesOfCharacters[c]));
  }
  return out;
}

}  // namespace tessera
