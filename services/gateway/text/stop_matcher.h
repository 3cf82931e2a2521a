#pragma once

// Ends a text at the first of its stop strings, wherever tokens cut it.
//
//   pieces --Push--> text that no stop string can reach any more
//
// A tail that may still become a stop string is held back.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::gateway {

struct StopMatcherOptions {
  std::vector<std::string> stops;  // empty ones are ignored
  bool include_stop = false;       // the stop string itself belongs to the text
};

// Owned by one thread.
class StopMatcher {
 public:
  explicit StopMatcher(StopMatcherOptions options);

  // The text that `piece` settles. After a match everything pushed is dropped.
  std::string Push(std::string_view piece);
  // The text has ended: what was held back.
  std::string Flush();

  // The stop string that ended the text: the one whose match ends first, of those the longest.
  const std::optional<std::string>& matched() const { return matched_; }
  size_t held_bytes() const { return held_.size(); }

 private:
  const StopMatcherOptions options_;
  std::string held_;
  std::optional<std::string> matched_;
};

}  // namespace tessera::gateway
