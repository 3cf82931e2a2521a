#pragma once

#include <cstdint>
#include <string_view>

namespace tessera {

// A half-open range of bytes of some text.
struct TextSpan {
  uint32_t begin = 0;
  uint32_t end = 0;
  bool operator==(const TextSpan&) const = default;
};

inline std::string_view Slice(std::string_view text, TextSpan span) {
  return text.substr(span.begin, span.end - span.begin);
}

}  // namespace tessera
