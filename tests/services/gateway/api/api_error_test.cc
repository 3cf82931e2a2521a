#include "services/gateway/api/api_error.h"

#include <gtest/gtest.h>

#include "common/base/status.h"

namespace tessera::gateway {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

TEST(ApiErrorTest, TheTable) {
  struct Row {
    absl::StatusCode code;
    int http_status;
    const char* type;
    const char* api_code;  // "-": none
    const char* anthropic_type;
  };
  const Row rows[] = {
      {absl::StatusCode::kInvalidArgument, 400, "invalid_request_error", "-",
       "invalid_request_error"},
      {absl::StatusCode::kUnauthenticated, 401, "authentication_error", "invalid_api_key",
       "authentication_error"},
      {absl::StatusCode::kPermissionDenied, 403, "permission_error", "model_not_allowed",
       "permission_error"},
      {absl::StatusCode::kNotFound, 404, "invalid_request_error", "model_not_found",
       "not_found_error"},
      {absl::StatusCode::kResourceExhausted, 429, "rate_limit_error", "rate_limit_exceeded",
       "rate_limit_error"},
      {absl::StatusCode::kUnavailable, 503, "server_error", "engine_unavailable",
       "overloaded_error"},
      {absl::StatusCode::kDeadlineExceeded, 504, "timeout_error", "deadline_exceeded",
       "timeout_error"},
      {absl::StatusCode::kInternal, 500, "server_error", "internal_error", "api_error"},
      {absl::StatusCode::kUnknown, 500, "server_error", "internal_error", "api_error"},
      {absl::StatusCode::kCancelled, 499, "invalid_request_error", "-", "invalid_request_error"},
  };
  for (const Row& row : rows) {
    const ApiError error = ToApiError(absl::Status(row.code, "secret detail"));
    EXPECT_EQ(error.http_status, row.http_status);
    EXPECT_EQ(error.type, row.type);
    EXPECT_EQ(error.code.value_or("-"), row.api_code);
    EXPECT_EQ(error.message == "secret detail", row.http_status != 500) << error.message;
    const std::string anthropic = ErrorBody(error, ErrorDialect::kAnthropic, "id");
    EXPECT_NE(anthropic.find(row.anthropic_type), std::string::npos) << anthropic;
  }
}

TEST(ApiErrorTest, Bodies) {
  const ApiError error = ToApiError(Annotate(BadRequest("n", "too \"many\""), "chat"));
  EXPECT_EQ(ErrorBody(error, ErrorDialect::kOpenAi, "id"),
            R"({"error":{"message":"chat: too \"many\"","type":"invalid_request_error",)"
            R"("param":"n","code":null}})");
  EXPECT_EQ(ErrorBody(error, ErrorDialect::kAnthropic, "req_1"),
            R"({"type":"error","error":{"type":"invalid_request_error",)"
            R"("message":"chat: too \"many\""},"request_id":"req_1"})");
}

TEST(ApiErrorTest, Codes) {
  EXPECT_EQ(ToApiError(Unsupported("tools", "no")).code, "unsupported");
  EXPECT_EQ(ToApiError(ContextLengthExceeded("messages", "no")).code, "context_length_exceeded");
  EXPECT_EQ(ToApiError(ModelNotFound("x")).param, "model");
  EXPECT_EQ(ToApiError(WithCode(absl::UnavailableError("x"), "gone")).code, "gone");
  EXPECT_EQ(ToApiError(Draining()).code, "draining");
  EXPECT_EQ(ToApiError(Draining()).http_status, 503);
  EXPECT_EQ(ToApiError(Draining()).retry_after, absl::Seconds(5));
  EXPECT_EQ(UnknownPath("/x").code, "unknown_url");
  EXPECT_EQ(UnknownPath("/x").http_status, 404);
  EXPECT_EQ(NotJson("text/plain").http_status, 415);
}

TEST(ApiErrorTest, OfTheHttpLayer) {
  for (const int status : {400, 408, 413, 431, 500, 503}) {
    const ApiError error = HttpLayerError(status, "why");
    EXPECT_EQ(error.http_status, status);
    EXPECT_EQ(error.message, "why");
  }
  EXPECT_EQ(HttpLayerError(408, "").type, "timeout_error");
  EXPECT_EQ(HttpLayerError(413, "").type, "invalid_request_error");
  EXPECT_EQ(HttpLayerError(500, "").code, "internal_error");
  EXPECT_EQ(HttpLayerError(503, "").code, "engine_unavailable");
  EXPECT_EQ(HttpLayerError(503, "").retry_after, absl::Seconds(1));
}

TEST(ApiErrorTest, Headers) {
  const absl::Status full =
      WithRetryAfter(absl::ResourceExhaustedError("full"), absl::Milliseconds(1200));
  EXPECT_EQ(WriteErrorReply(ToApiError(full), ErrorDialect::kOpenAi, "").headers,
            (Headers{{"Retry-After", "2"}, {"retry-after-ms", "1200"}}));
  const ErrorReply busy =
      WriteErrorReply(ToApiError(absl::UnavailableError("x")), ErrorDialect::kAnthropic, "");
  EXPECT_EQ(busy.http_status, 529);
  EXPECT_EQ(busy.headers, (Headers{{"Retry-After", "1"}, {"retry-after-ms", "1000"}}));
  EXPECT_EQ(WriteErrorReply(ToApiError(absl::UnauthenticatedError("x")), ErrorDialect::kOpenAi, "")
                .headers,
            (Headers{{"WWW-Authenticate", "Bearer"}}));
  EXPECT_EQ(MethodNotAllowed("PUT", "POST").headers, (Headers{{"Allow", "POST"}}));
}

}  // namespace
}  // namespace tessera::gateway
