// Broken calls of tools: told in some way, the same whatever the cuts; never a crash or a hang.

#include <gtest/gtest.h>

#include <algorithm>

#include "common/base/random.h"
#include "tests/services/gateway/parse/parse_cases.h"
#include "tests/support/mutator.h"

namespace tessera::gateway {
namespace {

std::vector<std::string> Corpus() {
  std::vector<std::string> corpus;
  for (const ParseCase& c : kParseCases) corpus.emplace_back(c.text);
  return corpus;
}

std::vector<std::string> Dictionary() {
  return {"<tool_call>",
          "</tool_call>",
          "<function=f>",
          "<function=",
          "</function>",
          "<parameter=",
          "</parameter>",
          "<parameter=b>",
          "<think>",
          "</think>",
          "\n",
          "{\"name\":",
          "\"f\"",
          "\"arguments\":",
          "}",
          "\\",
          "\"",
          "\r\n",
          "<",
          "   "};
}

// ASCII only: text comes in whole characters.
std::string Plain(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c >= 0x80; }, '?');
  return text;
}

TEST(OutputParserFuzzTest, BrokenCallsAtRandomCuts) {
  constexpr uint64_t kSeed = 57;
  const testing::Mutator mutator(kSeed, Corpus(), Dictionary());
  Random random(kSeed);
  uint64_t calls = 0;
  for (uint64_t n = 0; n < testing::FuzzRounds(20000); ++n) {
    const std::string text = Plain(mutator.At(n));
    for (const ToolFormat format : {ToolFormat::kHermes, ToolFormat::kQwen3Coder}) {
      OutputParserOptions options = CaseOptions(format);
      options.reasoning = ReasoningRule::kQwen3;
      options.tool_options.parallel = n % 2 == 0;
      std::vector<std::string_view> pieces;
      std::string_view rest = text;
      while (!rest.empty()) {
        const size_t size = std::min<size_t>(1 + random.Below(7), rest.size());
        pieces.push_back(rest.substr(0, size));
        rest.remove_prefix(size);
      }
      const std::string whole = Parse(options, {text});
      ASSERT_EQ(Parse(options, pieces), whole) << "seed " << kSeed << ", input " << n << ":\n"
                                               << text;
      calls += whole.find("T0(") != std::string::npos ? 1 : 0;
    }
  }
  EXPECT_GT(calls, 1000u);
}

}  // namespace
}  // namespace tessera::gateway
