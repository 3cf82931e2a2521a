#include "services/gateway/api/api_error.h"

#include <algorithm>
#include <array>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/json/json_writer.h"

namespace tessera::gateway {
namespace {

constexpr std::string_view kParamPayload = "tessera.gateway.param";
constexpr std::string_view kCodePayload = "tessera.gateway.code";
constexpr std::string_view kRetryPayload = "tessera.gateway.retry_after_ms";

constexpr absl::Duration kRetryUsually = absl::Seconds(1);

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

absl::Status WithPayload(absl::Status status, std::string_view url, std::string_view value) {
  status.SetPayload(View(url), absl::Cord(View(value)));
  return status;
}

std::optional<std::string> PayloadOf(const absl::Status& status, std::string_view url) {
  const absl::optional<absl::Cord> payload = status.GetPayload(View(url));
  if (!payload.has_value()) return std::nullopt;
  return std::string(*payload);
}

struct Row {
  int http_status;
  const char* type;
  const char* code;            // null: none
  const char* anthropic_type;  // the same in the other dialect
};
constexpr std::array<Row, 13> kTable = {{
    {400, "invalid_request_error", nullptr, "invalid_request_error"},
    {401, "authentication_error", "invalid_api_key", "authentication_error"},
    {403, "permission_error", "model_not_allowed", "permission_error"},
    {404, "invalid_request_error", "model_not_found", "not_found_error"},
    {405, "invalid_request_error", nullptr, "invalid_request_error"},
    {408, "timeout_error", nullptr, "timeout_error"},
    {409, "invalid_request_error", nullptr, "invalid_request_error"},
    {413, "invalid_request_error", nullptr, "request_too_large"},
    {415, "invalid_request_error", nullptr, "invalid_request_error"},
    {429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error"},
    {431, "invalid_request_error", nullptr, "invalid_request_error"},
    {503, "server_error", "engine_unavailable", "overloaded_error"},
    {504, "timeout_error", "deadline_exceeded", "timeout_error"},
}};
constexpr Row kInternalRow = {500, "server_error", "internal_error", "api_error"};
constexpr Row kCancelledRow = {499, "invalid_request_error", nullptr, "invalid_request_error"};

const Row& RowOf(int http_status) {
  if (http_status == kCancelledRow.http_status) return kCancelledRow;
  for (const Row& row : kTable) {
    if (row.http_status == http_status) return row;
  }
  return kInternalRow;
}

ApiError ErrorOf(int http_status, std::string message) {
  const Row& row = RowOf(http_status);
  ApiError error;
  error.http_status = row.http_status;
  error.type = row.type;
  error.message = std::move(message);
  if (row.code != nullptr) error.code = row.code;
  return error;
}

void AppendOptional(const std::optional<std::string>& value, std::string& out) {
  if (value.has_value()) {
    AppendJsonString(*value, out);
  } else {
    out += "null";
  }
}

}  // namespace

absl::Status WithCode(absl::Status status, std::string_view code) {
  return WithPayload(std::move(status), kCodePayload, code);
}

absl::Status WithParam(absl::Status status, std::string_view param) {
  return WithPayload(std::move(status), kParamPayload, param);
}

absl::Status WithRetryAfter(absl::Status status, absl::Duration after) {
  const int64_t ms = absl::ToInt64Milliseconds(absl::Ceil(after, absl::Milliseconds(1)));
  return WithPayload(std::move(status), kRetryPayload, std::to_string(std::max<int64_t>(ms, 0)));
}

absl::Status BadRequest(std::string_view param, std::string_view message, std::string_view code) {
  absl::Status status = absl::InvalidArgumentError(View(message));
  if (!param.empty()) status = WithParam(std::move(status), param);
  if (!code.empty()) status = WithCode(std::move(status), code);
  return status;
}

absl::Status Unsupported(std::string_view param, std::string_view message) {
  return BadRequest(param, message, "unsupported");
}

absl::Status ContextLengthExceeded(std::string_view param, std::string_view message) {
  return BadRequest(param, message, "context_length_exceeded");
}

absl::Status ModelNotFound(std::string_view model) {
  std::string message = absl::StrCat("The model '", View(model.substr(0, 200)),
                                     "' does not exist; GET /v1/models lists those that do");
  return WithParam(WithCode(absl::NotFoundError(message), "model_not_found"), "model");
}

absl::Status Draining() {
  return WithRetryAfter(WithCode(absl::UnavailableError("the server is shutting down"), "draining"),
                        absl::Seconds(5));
}

ApiError ToApiError(const absl::Status& status) {
  const int http_status = HttpStatusOf(status.code());
  ApiError error = ErrorOf(http_status, std::string(status.message()));
  if (error.http_status == 500) error.message = "The server failed to answer this request";
  if (std::optional<std::string> param = PayloadOf(status, kParamPayload)) error.param = param;
  if (std::optional<std::string> code = PayloadOf(status, kCodePayload)) error.code = code;
  int64_t retry_ms = 0;
  if (const std::optional<std::string> retry = PayloadOf(status, kRetryPayload);
      retry.has_value() && absl::SimpleAtoi(*retry, &retry_ms)) {
    error.retry_after = absl::Milliseconds(retry_ms);
  } else if (error.http_status == 429 || error.http_status == 503) {
    error.retry_after = kRetryUsually;  // these two always say when to come back
  }
  if (error.http_status == 401) error.headers.emplace_back("WWW-Authenticate", "Bearer");
  return error;
}

ApiError UnknownPath(std::string_view path) {
  ApiError error = ErrorOf(404, absl::StrCat("Unknown path: ", View(path.substr(0, 200))));
  error.code = "unknown_url";
  return error;
}

ApiError MethodNotAllowed(std::string_view method, std::string_view allowed) {
  ApiError error = ErrorOf(405, absl::StrCat("The method ", View(method.substr(0, 32)),
                                             " is not allowed here; use ", View(allowed)));
  error.headers.emplace_back("Allow", allowed);
  return error;
}

ApiError NotJson(std::string_view content_type) {
  return ErrorOf(415, absl::StrCat("The content type '", View(content_type.substr(0, 100)),
                                   "' is not read here; send application/json"));
}

ApiError HttpLayerError(int http_status, std::string_view message) {
  ApiError error = ErrorOf(http_status, std::string(message));
  if (error.http_status == 503) error.retry_after = kRetryUsually;
  return error;
}

std::string ErrorBody(const ApiError& error, ErrorDialect dialect, std::string_view request_id) {
  std::string out;
  if (dialect == ErrorDialect::kAnthropic) {
    out += R"({"type":"error","error":{"type":)";
    AppendJsonString(RowOf(error.http_status).anthropic_type, out);
    out += R"(,"message":)";
    AppendJsonString(error.message, out);
    out += R"(},"request_id":)";
    AppendJsonString(request_id, out);
    out += '}';
    return out;
  }
  out += R"({"error":{"message":)";
  AppendJsonString(error.message, out);
  out += R"(,"type":)";
  AppendJsonString(error.type, out);
  out += R"(,"param":)";
  AppendOptional(error.param, out);
  out += R"(,"code":)";
  AppendOptional(error.code, out);
  out += "}}";
  return out;
}

ErrorReply WriteErrorReply(const ApiError& error, ErrorDialect dialect,
                           std::string_view request_id) {
  ErrorReply reply = {.http_status = error.http_status,
                      .body = ErrorBody(error, dialect, request_id),
                      .headers = error.headers};
  if (dialect == ErrorDialect::kAnthropic && error.http_status == 503) reply.http_status = 529;
  if (error.retry_after.has_value()) {
    const int64_t ms = absl::ToInt64Milliseconds(*error.retry_after);
    reply.headers.emplace_back("Retry-After", std::to_string((ms + 999) / 1000));
    reply.headers.emplace_back("retry-after-ms", std::to_string(ms));
  }
  return reply;
}

}  // namespace tessera::gateway
