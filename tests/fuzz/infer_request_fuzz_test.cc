// Broken bodies of /v2/models/NAME/infer: refused as a bad request, or read as completions of the
// shape they name.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/json/json.h"
#include "services/gateway/api/api_error.h"
#include "services/gateway/api/infer_json.h"
#include "tests/support/mutator.h"

namespace tessera::gateway {
namespace {

std::vector<std::string> Corpus() {
  return {R"({"inputs":[{"name":"text_input","datatype":"BYTES","shape":[1],"data":["a"]}]})",
          R"({"id":"mine","inputs":[{"name":"text_input","datatype":"BYTES","shape":[2,2],)"
          R"("data":[["a","b"],["c","d"]],"parameters":{"x":1}}],"parameters":{"max_tokens":7}})",
          R"({"inputs":[{"name":"text_input","datatype":"BYTES","shape":[1],"data":["a"]},)"
          R"({"name":"stop","datatype":"BYTES","shape":[2],"data":["x","y"]},)"
          R"({"name":"temperature","datatype":"FP32","shape":[1],"data":[0.5]},)"
          R"({"name":"top_k","datatype":"UINT8","shape":[1],"data":[200]},)"
          R"({"name":"priority","datatype":"INT8","shape":[1],"data":[-3]},)"
          R"({"name":"min_tokens","datatype":"UINT64","shape":[1],"data":[2]},)"
          R"({"name":"ignore_eos","datatype":"BOOL","shape":[1],"data":[true]}],)"
          R"("parameters":{"max_tokens":3,"min_p":0.125,"cache_salt":"s"},)"
          R"("outputs":[{"name":"finish_reason"}]})"};
}

std::vector<std::string> Dictionary() {
  return {"null",        "true",       "[]",         "{}",         "\"\"",
          "\"\\ud800\"", "[[[[[[",     "{\"name\":", "\"shape\":", "\"data\":",
          "\"INT64\"",   "\"UINT32\"", "\"FP64\"",   "\"BYTES\"",  "\"outputs\":",
          "1048577",     "-1",         "1e400",      "1e39",       "18446744073709551615",
          "\xff",        "\xe2\x80",   ","};
}

TEST(InferRequestFuzzTest, BrokenBodies) {
  constexpr uint64_t kSeed = 37;
  uint64_t read = 0;
  const uint64_t rounds = testing::FuzzRounds(25000);
  const testing::Mutator mutator(kSeed, Corpus(), Dictionary());
  for (uint64_t n = 0; n < rounds; ++n) {
    const auto request = ReadInferBody(mutator.At(n), "tiny", {});
    if (!request.ok()) {
      const ApiError error = ToApiError(request.status());
      ASSERT_EQ(error.http_status, 400)
          << "seed " << kSeed << ", input " << n << ": " << request.status();
      const std::string body = ErrorBody(error, ErrorDialect::kOpenAi, "");
      ASSERT_TRUE(JsonDocument::Parse(body).ok()) << "seed " << kSeed << ", input " << n;
      continue;
    }
    ++read;
    size_t texts = 1;
    for (const int64_t size : request->infer->shape) texts *= static_cast<size_t>(size);
    ASSERT_EQ(request->prompts().size(), texts) << "seed " << kSeed << ", input " << n;
    const std::vector<ChoiceOutput> choices(texts);
    const std::string reply = WriteInferBody(*request, "tiny", choices, {});
    ASSERT_TRUE(JsonDocument::Parse(reply).ok()) << "seed " << kSeed << ", input " << n;
  }
  EXPECT_GT(read, rounds / 100);
}

}  // namespace
}  // namespace tessera::gateway
