#include "common/tracing/trace_context.h"

#include <gtest/gtest.h>

#include <string>

namespace tessera {
namespace {

constexpr std::string_view kExample = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceContextTest, TheExampleOfTheStandardGoesBothWays) {
  const auto context = ParseTraceparent(kExample);
  ASSERT_TRUE(context.has_value());
  EXPECT_EQ(context->trace[0], 0x4b);
  EXPECT_EQ(context->trace[15], 0x36);
  EXPECT_EQ(context->span[1], 0xf0);
  EXPECT_TRUE(context->sampled);
  EXPECT_EQ(FormatTraceparent(*context), kExample);
}

TEST(TraceContextTest, OnlyTheSampledFlagIsCarriedOn) {
  for (const auto& [flags, sampled] :
       {std::pair{"00", false}, {"01", true}, {"02", false}, {"ff", true}}) {
    const std::string text = std::string(kExample.substr(0, 53)) + flags;
    const auto context = ParseTraceparent(text);
    ASSERT_TRUE(context.has_value()) << text;
    EXPECT_EQ(context->sampled, sampled) << text;
    EXPECT_EQ(FormatTraceparent(*context).substr(53), sampled ? "01" : "00");
  }
}

TEST(TraceContextTest, WhatIsNotVersionZeroToTheLetterIsNothing) {
  const std::string good(kExample);
  const auto with = [&good](size_t at, std::string_view piece) {
    return std::string(good).replace(at, piece.size(), piece);
  };
  for (const std::string& text : {
           std::string(),
           good.substr(1),
           good.substr(0, 54),
           good + "-00",
           " " + good.substr(1),
           with(0, "01"),
           with(0, "ff"),
           with(2, "_"),
           with(35, "0"),
           with(52, "0"),
           with(3, "4B"),
           with(10, "g"),
           with(40, " "),
           with(53, "0x"),
           with(3, "00000000000000000000000000000000"),
           with(36, "0000000000000000"),
       }) {
    EXPECT_FALSE(ParseTraceparent(text).has_value()) << "'" << text << "'";
  }
}

// Any single byte changed to anything else: never a crash, and what is taken is what it says.
TEST(TraceContextTest, EveryByteIsLookedAt) {
  for (size_t at = 0; at < kExample.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string text(kExample);
      text[at] = static_cast<char>(byte);
      const auto context = ParseTraceparent(text);
      if (!context.has_value()) continue;
      EXPECT_EQ(FormatTraceparent(*context).substr(0, 53), text.substr(0, 53));
    }
  }
}

}  // namespace
}  // namespace tessera
