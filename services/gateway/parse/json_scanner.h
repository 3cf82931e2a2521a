#pragma once

// One JSON value, byte by byte. For the sources of this folder only.

#include <cstddef>
#include <string>
#include <vector>

namespace tessera::gateway {

// Feeds on bytes until the value has ended. Owned by one thread.
class JsonScanner {
 public:
  enum class Step {
    kMore,       // the byte belongs to the value, which goes on
    kEnd,        // the byte is the value's last
    kEndBefore,  // the value (a number or a word) ended before this byte, which is not taken
    kBad,        // no JSON, or deeper than kDepthMax; the byte is not taken
  };
  static constexpr size_t kDepthMax = 64;

  // White space before the value is not accepted: skip it first.
  Step Feed(char c);
  // Whether the byte taken last, or to be taken next, stands inside a string.
  bool in_string() const { return state_ == State::kString; }

 private:
  enum class State {
    kValue,       // a value must begin
    kFirstValue,  // or the array ends
    kKey,         // a key must begin
    kFirstKey,    // or the object ends
    kColon,
    kAfter,  // a value in a container has ended: , or its end
    kString,
    kEscape,
    kHex,
    kWord,    // true, false, null
    kNumber,  // judged when it has ended
  };
  Step Begin(char c);
  Step EndOfValue();
  Step AfterNumber(char c);

  State state_ = State::kValue;
  std::vector<char> open_;  // '{' and '['
  bool is_key_ = false;     // the string that is being read
  int hex_left_ = 0;
  std::string word_;  // of kWord and kNumber so far
};

}  // namespace tessera::gateway
