// Broken chat templates: refused with a message, or rendered within the limits; never a crash or a
// hang.

#include <gtest/gtest.h>

#include "services/gateway/template/chat_template.h"
#include "tests/services/gateway/template/template_cases.h"
#include "tests/support/mutator.h"

namespace tessera::gateway {
namespace {

std::vector<std::string> Corpus() {
  std::vector<std::string> corpus;
  for (const TemplateCase& c : kTemplateCases) corpus.emplace_back(c.source);
  return corpus;
}

std::vector<std::string> Dictionary() {
  return {"{%",
          "%}",
          "{{",
          "}}",
          "{#",
          "#}",
          "{%- for x in l %}",
          "{% endfor %}",
          "{% if ",
          "{% else %}",
          "{% endif %}",
          "{% macro m(a) %}{{ m(a) }}{% endmacro %}",
          "{% set ns = namespace() %}",
          "ns.x",
          "|tojson",
          "|sort",
          "|map(",
          "|join(",
          " is ",
          " not ",
          "range(99999999)",
          "* 99999999",
          "[::-1]",
          "[",
          "]",
          "(",
          ")",
          "'",
          "\"",
          "~",
          "**",
          "//",
          "-9223372036854775807",
          "1e308",
          "loop.",
          "none",
          "undefined",
          "{% raw %}",
          "\\"};
}

TEST(ChatTemplateFuzzTest, BrokenTemplates) {
  constexpr uint64_t kSeed = 22;
  const testing::Mutator mutator(kSeed, Corpus(), Dictionary());
  const auto document = JsonDocument::Parse(kCaseVariables);
  ASSERT_TRUE(document.ok());
  const TemplateValue variables = TemplateValue::FromJson(document->root());
  TemplateLimits limits;
  limits.steps_max = 20000;
  limits.bytes_max = 1 << 20;
  limits.output_bytes_max = 1 << 18;
  uint64_t rendered = 0;
  const uint64_t rounds = testing::FuzzRounds(20000);
  for (uint64_t n = 0; n < rounds; ++n) {
    const auto parsed = ChatTemplate::Parse(mutator.At(n), limits);
    const auto text = parsed.ok() ? (*parsed)->Render(variables.AsDict(), absl::UnixEpoch())
                                  : absl::StatusOr<std::string>(parsed.status());
    if (text.ok()) {
      ++rendered;
      ASSERT_LE(text->size(), limits.output_bytes_max) << "seed " << kSeed << ", input " << n;
    } else {
      ASSERT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument)
          << "seed " << kSeed << ", input " << n << ": " << text.status();
    }
  }
  EXPECT_GT(rendered, rounds / 20);
}

}  // namespace
}  // namespace tessera::gateway
