#include "services/gateway/api/infer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/gateway/api/api_error.h"

namespace tessera::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<GenerationRequest> Read(std::string_view body) {
  return ReadInferBody(body, "tiny", {});
}
// A request of one text and one more input.
std::string With(std::string_view input) {
  return absl::StrCat(R"({"inputs":[{"name":"text_input","datatype":"BYTES","shape":[1],)",
                      R"("data":["a"]},)", std::string(input), "]}");
}
std::string Option(std::string_view name, std::string_view datatype, std::string_view data) {
  return With(absl::StrCat(R"({"name":")", std::string(name), R"(","datatype":")",
                           std::string(datatype), R"(","shape":[1],"data":)", std::string(data),
                           "}"));
}

TEST(InferJsonTest, TextsAreCompletionsOfTheirShape) {
  const auto request =
      Read(R"({"id":"mine","inputs":[{"name":"text_input","datatype":"BYTES","shape":[2,2],)"
           R"("data":[["a","b"],["c","d"]],"parameters":{"x":1}}],"parameters":{"max_tokens":7}})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->dialect, ApiDialect::kCompletion);
  EXPECT_EQ(request->model, "tiny");
  ASSERT_EQ(request->prompts().size(), 4u);
  EXPECT_EQ(std::get<std::string>(request->prompts()[2]), "c");
  EXPECT_EQ(request->tokens_max, 7u);
  EXPECT_EQ(request->request_id, "mine");
  ASSERT_TRUE(request->infer.has_value());
  EXPECT_EQ(request->infer->id, "mine");
  EXPECT_THAT(request->infer->shape, ElementsAre(2, 2));
  EXPECT_TRUE(request->infer->want_text && request->infer->want_reason);
}

TEST(InferJsonTest, OptionsComeAsParametersOrTensors) {
  const auto request =
      Read(R"({"inputs":[{"name":"text_input","datatype":"BYTES","shape":[1],"data":["a"]},)"
           R"({"name":"stop","datatype":"BYTES","shape":[2],"data":["x","y"]},)"
           R"({"name":"temperature","datatype":"FP32","shape":[1],"data":[0.5]},)"
           R"({"name":"top_p","datatype":"FP64","shape":[1],"data":[0.25]},)"
           R"({"name":"top_k","datatype":"UINT8","shape":[1],"data":[200]},)"
           R"({"name":"priority","datatype":"INT8","shape":[1],"data":[-3]},)"
           R"({"name":"seed","datatype":"INT64","shape":[1],"data":[-9007199254740993]},)"
           R"({"name":"min_tokens","datatype":"UINT64","shape":[1],"data":[2]},)"
           R"({"name":"ignore_eos","datatype":"BOOL","shape":[1],"data":[true]}],)"
           R"("parameters":{"max_tokens":3,"min_p":0.125,"cache_salt":"s",)"
           R"("skip_special_tokens":false,"include_stop_str_in_output":null},)"
           R"("outputs":[{"name":"finish_reason"}]})");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_THAT(request->stop, ElementsAre("x", "y"));
  EXPECT_EQ(request->sampling.temperature, 0.5f);
  EXPECT_EQ(request->sampling.top_p, 0.25f);
  EXPECT_EQ(request->sampling.min_p, 0.125f);
  EXPECT_EQ(request->sampling.top_k, 200u);
  EXPECT_EQ(request->sampling.seed, -9007199254740993);
  EXPECT_EQ(request->priority, -3);
  EXPECT_EQ(request->tokens_max, 3u);
  EXPECT_EQ(request->tokens_min, 2u);
  EXPECT_TRUE(request->ignore_eos);
  EXPECT_FALSE(request->skip_special_tokens);
  EXPECT_EQ(request->cache_salt, "s");
  EXPECT_FALSE(request->infer->want_text);
  EXPECT_TRUE(request->infer->want_reason);
}

TEST(InferJsonTest, WhatIsWrongIsSaidWithItsPlace) {
  const auto expect = [](std::string_view body, std::string_view param, std::string_view part) {
    const auto request = Read(body);
    ASSERT_FALSE(request.ok()) << body;
    const ApiError error = ToApiError(request.status());
    EXPECT_EQ(error.http_status, 400) << body;
    EXPECT_EQ(error.param.value_or(""), param) << body;
    EXPECT_THAT(error.message, HasSubstr(std::string(part))) << body;
  };
  expect("[", "", "line 1");
  expect("{}", "inputs", "missing");
  expect(R"({"inputs":[]})", "inputs", "not empty");
  expect(R"({"inputs":[3]})", "inputs[0]", "object");
  expect(R"({"id":3,"inputs":[{}]})", "id", "string");
  expect(R"({"inputs":[{"name":"text_input"}]})", "inputs[0].datatype", "missing");
  expect(R"({"inputs":[{"name":"text_input","datatype":"BYTES","shape":[0],"data":["a"]}]})",
         "inputs[0].shape[0]", "at least 1");
  expect(R"({"inputs":[{"name":"text_input","datatype":"BYTES","shape":[1]}]})", "inputs[0].data",
         "missing");
  expect(R"({"inputs":[{"name":"text_input","datatype":"BYTES","shape":[2],"data":["a"]}]})", "",
         "2 elements, the contents 1");
  expect(R"({"inputs":[{"name":"text_input","datatype":"INT8","shape":[1],"data":[1]}]})", "",
         "expected BYTES");
  expect(R"({"inputs":[{"name":"max_tokens","datatype":"INT8","shape":[1],"data":[1]}]})", "",
         "text_input (BYTES) is missing");
  expect(Option("max_tokens", "INT8", "[200]"), "inputs[1].data[0]", "from -128 to 127");
  expect(Option("max_tokens", "UINT16", "[-1]"), "inputs[1].data[0]", "from 0 to 65535");
  expect(Option("max_tokens", "INT64", "[1.5]"), "inputs[1].data[0]", "whole number");
  expect(Option("max_tokens", "UINT64", "[-1]"), "inputs[1].data[0]", "not negative");
  expect(Option("max_tokens", "INT32", R"(["4"])"), "inputs[1].data[0]", "whole number");
  expect(Option("temperature", "FP32", "[1e300]"), "inputs[1].data[0]", "FP32");
  expect(Option("temperature", "FP64", "[true]"), "inputs[1].data[0]", "a number");
  expect(Option("stop", "BYTES", "[1]"), "inputs[1].data[0]", "a string");
  expect(Option("ignore_eos", "BOOL", "[1]"), "inputs[1].data[0]", "true or false");
  expect(Option("temperature", "FP16", "[1]"), "", "FP16");
  expect(Option("temperature", "FP32", "[9]"), "temperature", "2");
  expect(Option("colour", "FP32", "[9]"), "", "no option 'colour'");
  expect(Option("max_tokens", "INT8", "[1,2]"), "", "the shape has 1");
  const std::string text = R"("inputs":[{"name":"text_input","datatype":"BYTES","shape":[1],)"
                           R"("data":["a"]}])";
  expect(absl::StrCat("{", text, R"(,"parameters":{"stop":["a"]}})"), "parameters.stop",
         "a string, a number");
  expect(absl::StrCat("{", text, R"(,"parameters":[]})"), "parameters", "an object");
  expect(absl::StrCat("{", text, R"(,"parameters":{"binary_data_output":true}})"), "", "no option");
  expect(absl::StrCat("{", text, R"(,"outputs":[{"name":"logits"}]})"), "", "no output 'logits'");
  expect(absl::StrCat("{", text, R"(,"outputs":[{}]})"), "outputs[0].name", "missing");
}

TEST(InferJsonTest, RepliesHaveTheShapeOfTheTexts) {
  auto request = Read(
      R"({"id":"m","inputs":[{"name":"text_input","datatype":"BYTES","shape":[1,2],"data":["a","b"]}]})");
  ASSERT_TRUE(request.ok()) << request.status();
  std::vector<ChoiceOutput> choices(2);
  choices[0].events = {{.text = "one "}, {.text = "\"two\""}};
  choices[1].end.reason = FinishReason::kLength;
  const Usage usage = {.prompt_tokens = 5, .completion_tokens = 6};
  EXPECT_EQ(
      WriteInferBody(*request, "tiny", choices, usage),
      R"({"model_name":"tiny","model_version":"1","id":"m",)"
      R"("parameters":{"prompt_tokens":5,"completion_tokens":6},"outputs":[)"
      R"({"name":"text_output","datatype":"BYTES","shape":[1,2],"data":["one \"two\"",""]},)"
      R"({"name":"finish_reason","datatype":"BYTES","shape":[1,2],"data":["stop","length"]}]})");
  request->infer->id = "";
  request->infer->want_text = false;
  EXPECT_EQ(
      WriteInferBody(*request, "tiny", choices, usage),
      R"({"model_name":"tiny","model_version":"1",)"
      R"("parameters":{"prompt_tokens":5,"completion_tokens":6},"outputs":[)"
      R"({"name":"finish_reason","datatype":"BYTES","shape":[1,2],"data":["stop","length"]}]})");
}

}  // namespace
}  // namespace tessera::gateway
