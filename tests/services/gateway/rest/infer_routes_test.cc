#include "services/gateway/rest/infer_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::gateway {
namespace {

using ::testing::Optional;

TEST(InferRoutesTest, Paths) {
  EXPECT_THAT(ParseInferModelPath("/v2/models/m"), Optional(InferModelPath{.name = "m"}));
  EXPECT_THAT(ParseInferModelPath("/v2/models/a%2Fb/ready"),
              Optional(InferModelPath{.name = "a/b", .asks_ready = true}));
  EXPECT_THAT(ParseInferModelPath("/v2/models/m/versions/1"),
              Optional(InferModelPath{.name = "m", .version = "1"}));
  EXPECT_THAT(ParseInferModelPath("/v2/models/m/versions/2/ready"),
              Optional(InferModelPath{.name = "m", .version = "2", .asks_ready = true}));
  for (const char* path :
       {"/v2/models", "/v2/models/", "/v2/models/m/", "/v2/models/m/infer", "/v2/models/m/versions",
        "/v2/models/m/versions//ready", "/v2/models/m/ready/x", "/v1/models/m"}) {
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
