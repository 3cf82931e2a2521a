#include "services/gateway/rest/infer_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::gateway {
namespace {

using ::testing::Optional;

TEST(InferRoutesTest, Paths) {
  EXPECT_THAT(ParseInferModelPath("/v2/models/m"), Optional(InferModelPath{.name = "m"}));
  EXPECT_THAT(ParseInferModelPath("/v2/models/a%2Fb/ready"),
              Optional(InferModelPath{.name = "a/b", .asks = InferAsk::kReady}));
  EXPECT_THAT(ParseInferModelPath("/v2/models/m/versions/1"),
              Optional(InferModelPath{.name = "m", .version = "1"}));
  EXPECT_THAT(ParseInferModelPath("/v2/models/m/versions/2/ready"),
              Optional(InferModelPath{.name = "m", .version = "2", .asks = InferAsk::kReady}));
  EXPECT_THAT(ParseInferModelPath("/v2/models/m/infer"),
              Optional(InferModelPath{.name = "m", .asks = InferAsk::kInfer}));
  EXPECT_THAT(ParseInferModelPath("/v2/models/m/versions/1/infer"),
              Optional(InferModelPath{.name = "m", .version = "1", .asks = InferAsk::kInfer}));
  for (const char* path :
       {"/v2/models", "/v2/models/", "/v2/models/m/", "/v2/models/m/infer/x",
        "/v2/models/m/generate", "/v2/models/m/versions", "/v2/models/m/versions//ready",
        "/v2/models/m/ready/x", "/v1/models/m"}) {
    EXPECT_EQ(ParseInferModelPath(path), std::nullopt) << path;
  }
}

TEST(InferRoutesTest, Bodies) {
  EXPECT_EQ(WriteInferServer("1.2"), R"({"name":"tessera","version":"1.2","extensions":[]})");
  EXPECT_EQ(WriteInferHealth("live", true), R"({"live":true})");
  EXPECT_EQ(WriteInferModelReady("m", false), R"({"name":"m","ready":false})");
  EXPECT_EQ(WriteInferModel("m"),
            R"({"name":"m","versions":["1"],"platform":"tessera","inputs":[)"
            R"({"name":"text_input","datatype":"BYTES","shape":[-1]}],"outputs":[)"
            R"({"name":"text_output","datatype":"BYTES","shape":[-1]},)"
            R"({"name":"finish_reason","datatype":"BYTES","shape":[-1]}]})");
}

}  // namespace
}  // namespace tessera::gateway
