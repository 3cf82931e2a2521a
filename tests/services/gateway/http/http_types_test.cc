#include "services/gateway/http/http_types.h"

#include <gtest/gtest.h>

namespace tessera::gateway {
namespace {

TEST(HttpTypes, RequestIds) {
  EXPECT_TRUE(IsRequestId("abc-1.2_3:4/5"));
  EXPECT_FALSE(IsRequestId(""));
  EXPECT_FALSE(IsRequestId("two words"));
  EXPECT_FALSE(IsRequestId("line\r\nbreak"));
  EXPECT_FALSE(IsRequestId(std::string(129, 'a')));
}

TEST(HttpTypes, UnescapesPaths) {
  EXPECT_EQ(UnescapePath("/v1/models/arcee%2Dai%2Fnano"), "/v1/models/arcee-ai/nano");
  EXPECT_EQ(UnescapePath("/a%zz%2"), "/a%zz%2");
}

TEST(HttpTypes, CorsAllowsWhatIsListed) {
  const CorsConfig listed{.origins = {"https://a.example"}};
  EXPECT_EQ(listed.Allows("https://a.example"), "https://a.example");
  EXPECT_EQ(listed.Allows("https://b.example"), "");
  EXPECT_EQ(CorsConfig{.origins = {"*"}}.Allows("https://b.example"), "*");
  EXPECT_EQ(CorsConfig{.origins = {"*"}}.Allows(""), "");
}

}  // namespace
}  // namespace tessera::gateway
