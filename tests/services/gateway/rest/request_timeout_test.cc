#include "services/gateway/rest/request_timeout.h"

#include <gtest/gtest.h>

namespace tessera::gateway {
namespace {

HttpRequest With(std::vector<HttpHeader> headers) {
  HttpRequest request;
  request.headers = std::move(headers);
  return request;
}

TEST(RequestTimeoutTest, TheSmallestCounts) {
  EXPECT_EQ(*TimeoutOf(With({}), false), std::nullopt);
  EXPECT_EQ(*TimeoutOf(With({{"x-request-timeout", "2.5"}}), true), absl::Seconds(2.5));
  EXPECT_EQ(*TimeoutOf(With({{"x-request-timeout", "9"}, {"x-stainless-timeout", "3"}}), false),
            absl::Seconds(3));
  EXPECT_EQ(
      *TimeoutOf(With({{"x-request-timeout", "9"}, {"x-stainless-read-timeout", "600.0"}}), false),
      absl::Seconds(9));
}

TEST(RequestTimeoutTest, LibrariesMeanTheFirstByteOfAStream) {
  EXPECT_EQ(*TimeoutOf(With({{"x-stainless-timeout", "3"}}), true), std::nullopt);
  EXPECT_EQ(*TimeoutOf(With({{"x-stainless-timeout", "3"}}), false), absl::Seconds(3));
}

TEST(RequestTimeoutTest, OursIsCheckedAndOthersAreNot) {
  for (const char* wrong : {"soon", "0", "-1", "nan", "inf", "1s"}) {
    EXPECT_EQ(TimeoutOf(With({{"x-request-timeout", wrong}}), false).status().code(),
              absl::StatusCode::kInvalidArgument)
        << wrong;
    EXPECT_EQ(*TimeoutOf(With({{"x-stainless-timeout", wrong}}), false), std::nullopt) << wrong;
  }
}

}  // namespace
}  // namespace tessera::gateway
