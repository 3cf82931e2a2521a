#pragma once

// Looking for tags in text that is still coming. For the sources of this folder only.

#include <cstddef>
#include <string_view>

namespace tessera::gateway {

// White space looked at on each side of a tag, at most; see tool_parser.h.
inline constexpr size_t kGapBytesMax = 64;

inline bool IsGap(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// Bytes at the end of `text` that may be the beginning of `tag`.
inline size_t HeldForTag(std::string_view text, std::string_view tag) {
  size_t held = tag.size() - 1 < text.size() ? tag.size() - 1 : text.size();
  while (held > 0 && !tag.starts_with(text.substr(text.size() - held))) --held;
  return held;
}

// First byte at or after `from` that is no white space.
inline size_t SkipGap(std::string_view text, size_t from) {
  while (from < text.size() && IsGap(text[from])) ++from;
  return from;
}

// How `text` stands to `tag`, which it should begin with.
enum class TagMatch { kYes, kNo, kMore };  // kMore: not yet to be told
inline TagMatch MatchTag(std::string_view text, std::string_view tag, bool final) {
  if (text.starts_with(tag)) return TagMatch::kYes;
  if (!final && tag.starts_with(text)) return TagMatch::kMore;
  return TagMatch::kNo;
}

}  // namespace tessera::gateway
