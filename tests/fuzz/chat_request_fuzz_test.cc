// Broken bodies of requests: refused as a bad request, or read; never a crash or a hang.

#include <gtest/gtest.h>

#include "services/gateway/api/api_error.h"
#include "services/gateway/api/request_reader.h"
#include "tests/services/gateway/api/bad_bodies.h"
#include "tests/support/mutator.h"

namespace tessera::gateway {
namespace {

std::vector<std::string> Corpus(ApiDialect dialect) {
  std::vector<std::string> corpus = {std::string(GoodBody(dialect))};
  for (const BadBody& bad : BadBodiesOf(dialect)) corpus.push_back(BodyOf(dialect, bad));
  return corpus;
}

std::vector<std::string> Dictionary() {
  return {"null",        "true",      "[]",        "{}",          "\"\"",
          "\"\\ud800\"", "[[[[[[",    "{\"a\":",   "\"role\":",   "\"content\":",
          "\"tools\":",  "\"stop\":", "\"type\":", "\"prompt\":", "\"function\":",
          "-1",          "1e400",     "\xff",      "\xe2\x80",    ","};
}

TEST(ChatRequestFuzzTest, BrokenBodies) {
  constexpr uint64_t kSeed = 31;
  uint64_t read = 0;
  const uint64_t rounds = testing::FuzzRounds(25000);
  for (const ApiDialect dialect : {ApiDialect::kChat, ApiDialect::kCompletion,
                                   ApiDialect::kMessages, ApiDialect::kResponses}) {
    const testing::Mutator mutator(kSeed, Corpus(dialect), Dictionary());
    for (uint64_t n = 0; n < rounds; ++n) {
      const auto request = ReadGenerationRequest(dialect, mutator.At(n), {});
      if (request.ok()) {
        ++read;
        continue;
      }
      const ApiError error = ToApiError(request.status());
      ASSERT_EQ(error.http_status, 400)
          << "seed " << kSeed << ", input " << n << ": " << request.status();
      const std::string body = ErrorBody(error, ErrorDialect::kOpenAi, "");
      ASSERT_TRUE(JsonDocument::Parse(body).ok()) << "seed " << kSeed << ", input " << n;
    }
  }
  EXPECT_GT(read, rounds / 50);
}

}  // namespace
}  // namespace tessera::gateway
