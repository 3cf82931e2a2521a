#include "services/gateway/text/stop_matcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/base/random.h"

namespace tessera::gateway {
namespace {

TEST(StopMatcher, HoldsBackWhatMayBecomeAStop) {
  StopMatcher matcher({.stops = {"STOP"}});
  EXPECT_EQ(matcher.Push("go S"), "go ");
  EXPECT_EQ(matcher.held_bytes(), 1u);
  EXPECT_EQ(matcher.Push("T"), "");
  EXPECT_EQ(matcher.Push("AY S"), "STAY ");
  EXPECT_EQ(matcher.Push("TOP more"), "");
  EXPECT_EQ(matcher.matched(), "STOP");
  EXPECT_EQ(matcher.Push("ignored"), "");
  EXPECT_EQ(matcher.Flush(), "");
}

TEST(StopMatcher, FlushGivesBackWhatWasNoStop) {
  StopMatcher matcher({.stops = {"STOP"}});
  EXPECT_EQ(matcher.Push("STO"), "");
  EXPECT_EQ(matcher.Flush(), "STO");
  EXPECT_FALSE(matcher.matched().has_value());
}

TEST(StopMatcher, IncludesTheStopOnRequest) {
  StopMatcher matcher({.stops = {"b"}, .include_stop = true});
  EXPECT_EQ(matcher.Push("abc"), "ab");
}

TEST(StopMatcher, TheMatchThatEndsFirstWins) {
  StopMatcher earlier({.stops = {"bcd", "c"}});
  EXPECT_EQ(earlier.Push("abcd"), "ab");
  EXPECT_EQ(earlier.matched(), "c");
  StopMatcher longer({.stops = {"c", "bc", ""}});
  EXPECT_EQ(longer.Push("abc"), "a");
  EXPECT_EQ(longer.matched(), "bc");
}

TEST(StopMatcher, WithoutStopsNothingIsHeld) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.Push("abc"), "abc");
}

// However the text is cut, the same text comes out, and it equals a search in the whole.
TEST(StopMatcher, CutsDoNotMatter) {
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    Random random(seed);
    const auto word = [&random](size_t size) {
      std::string text;
      for (size_t i = 0; i < size; ++i) text += static_cast<char>('a' + random.Below(2));
      return text;
    };
    const std::string text = word(40);
    const std::vector<std::string> stops = {word(2 + random.Below(5)), word(2 + random.Below(5))};
    size_t end = std::string::npos;
    size_t begin = std::string::npos;
    for (const std::string& stop : stops) {
      const size_t at = text.find(stop);
      if (at == std::string::npos || at + stop.size() > end) continue;
      begin = at + stop.size() == end ? std::min(begin, at) : at;
      end = at + stop.size();
    }
    StopMatcher matcher({.stops = stops});
    std::string shown;
    for (size_t at = 0; at < text.size();) {
      const size_t size = 1 + random.Below(4);
      shown += matcher.Push(text.substr(at, size));
      at += size;
    }
    if (!matcher.matched().has_value()) shown += matcher.Flush();
    EXPECT_EQ(shown, text.substr(0, begin)) << "seed " << seed;
    EXPECT_EQ(matcher.matched().has_value(), begin != std::string::npos) << "seed " << seed;
  }
}

}  // namespace
}  // namespace tessera::gateway
