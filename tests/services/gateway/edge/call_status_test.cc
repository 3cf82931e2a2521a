#include "services/gateway/edge/call_status.h"

#include <gtest/gtest.h>

#include <string>

namespace tessera::gateway {
namespace {

using std::string_literals::operator""s;

TEST(CallStatusTest, DetailsAreThoseOfGoogleRpc) {
  ApiError error;
  error.message = "full";
  EXPECT_EQ(StatusDetails(absl::StatusCode::kResourceExhausted, error), "");
  error.code = "queue_full";
  error.param = "n";
  error.retry_after = absl::Milliseconds(2500);
  // Written by the fields' numbers and types in google/rpc/status.proto and error_details.proto.
  const std::string info = "\x0a\x0aqueue_full\x12\x07tessera\x1a\x0a\x0a\x05param\x12\x01n";
  const std::string retry = "\x0a\x08\x08\x02\x10\x80\xca\xb5\xee\x01"s;
  const std::string info_any = "\x0a\x28type.googleapis.com/google.rpc.ErrorInfo\x12\x21" + info;
  const std::string retry_any = "\x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x0a" + retry;
  EXPECT_EQ(StatusDetails(absl::StatusCode::kResourceExhausted, error),
            "\x08\x08\x12\x04"s + "full\x1a\x4d" + info_any + "\x1a\x36" + retry_any);
}

}  // namespace
}  // namespace tessera::gateway
