#include "common/base/json_string.h"

#include <array>

#include "common/base/utf8.h"

namespace tessera {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

// Bytes that stand in a string as they are: ASCII without controls, quote and backslash.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (size_t c = 0x20; c < 0x7F; ++c) plain[c] = c != '"' && c != '\\';
  return plain;
}();

void AppendEscapedByte(char c, std::string& out) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default: {
      const auto byte = static_cast<unsigned char>(c);
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
}

}  // namespace

void AppendJsonString(std::string_view text, std::string& out) {
  out += '"';
  size_t at = 0;
  while (at < text.size()) {
    size_t end = at;
    while (end < text.size() && kPlain[static_cast<unsigned char>(text[end])]) ++end;
    out.append(text, at, end - at);
    if (end == text.size()) break;
    at = end;
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      AppendEscapedByte(text[at++], out);
      continue;
    }
    size_t broken = 0;
    bool cut = false;
    const size_t length = CharacterLength(text.substr(at), &broken, &cut);
    const std::string_view character = text.substr(at, length);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
    } else if (character == "\xE2\x80\xA8") {
      out += "\\u2028";
    } else if (character == "\xE2\x80\xA9") {
      out += "\\u2029";
    } else {
      out += character;
    }
    at += length == 0 ? broken : length;
  }
  out += '"';
}

std::string JsonQuoted(std::string_view text) {
  std::string quoted;
  quoted.reserve(text.size() + 2);
  AppendJsonString(text, quoted);
  return quoted;
}

}  // namespace tessera
