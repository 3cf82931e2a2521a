#include "services/gateway/text/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace tessera::gateway {

StopMatcher::StopMatcher(StopMatcherOptions options)
    : options_([&options] {
        std::erase(options.stops, "");
        return std::move(options);
      }()) {}

std::string StopMatcher::Push(std::string_view piece) {
  if (matched_.has_value()) return "";
  if (options_.stops.empty()) return std::string(piece);
  held_ += piece;
  // Where the earliest match ends; of two that end there the longer, which begins earlier.
  size_t best_begin = std::string::npos;
  size_t best_end = std::string::npos;
  for (const std::string& stop : options_.stops) {
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (best_end == std::string::npos || end < best_end ||
        (end == best_end && begin < best_begin)) {
      best_begin = begin;
      best_end = end;
      matched_ = stop;
    }
  }
  if (matched_.has_value()) {
    held_.resize(options_.include_stop ? best_end : best_begin);
    return std::exchange(held_, "");
  }
  size_t keep = 0;  // the longest tail that begins a stop string
  for (const std::string& stop : options_.stops) {
    for (size_t size = std::min(stop.size() - 1, held_.size()); size > keep; --size) {
      if (std::string_view(held_).substr(held_.size() - size) ==
          std::string_view(stop).substr(0, size)) {
        keep = size;
        break;
      }
    }
  }
  std::string settled = held_.substr(0, held_.size() - keep);
  held_.erase(0, settled.size());
  return settled;
}

std::string StopMatcher::Flush() { return std::exchange(held_, ""); }

}  // namespace tessera::gateway
