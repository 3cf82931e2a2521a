#pragma once

// What a client is told when its request fails: one table from statuses to HTTP.
//
//   absl::Status (+ the payloads below) --ToApiError--> ApiError --WriteErrorReply--> code,
//   headers, body
//
//   status code                       HTTP  type                    code unless the status says
//                                                                   another
//
//   kInvalidArgument, kOutOfRange,
//   kFailedPrecondition               400   invalid_request_error   null
//
//   kUnauthenticated                  401   authentication_error    invalid_api_key
//
//   kPermissionDenied                 403   permission_error        model_not_allowed
//
//   kNotFound                         404   invalid_request_error   model_not_found
//
//   kAlreadyExists                    409   invalid_request_error   null
//
//   kResourceExhausted                429   rate_limit_error        rate_limit_exceeded
//
//   kCancelled                        499   invalid_request_error   null
//
//   kUnavailable                      503   server_error            engine_unavailable
//
//   kDeadlineExceeded                 504   timeout_error           deadline_exceeded
//
//   the rest                          500   server_error            internal_error
//
// 401 comes with WWW-Authenticate, 429 and 503 with Retry-After; nobody is there to read a 499. A
// 500 carries no message of ours: it is logged where it happened.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tessera::gateway {

// A failed request as the client sees it. A plain value.
struct ApiError {
  int http_status = 500;
  std::string type = "server_error";
  std::string message;
  std::optional<std::string> param;  // the field that is wrong: "temperature", "messages[2].role"
  std::optional<std::string> code;   // for machines: "context_length_exceeded"
  std::optional<absl::Duration> retry_after;
  std::vector<std::pair<std::string, std::string>> headers;  // besides those of the table

  friend bool operator==(const ApiError&, const ApiError&) = default;
};

// Statuses that know their field and code; Annotate keeps both.
//   kInvalidArgument, 400. `param` may be empty (null), and so may `code`.
absl::Status BadRequest(std::string_view param, std::string_view message,
                        std::string_view code = {});
//   kInvalidArgument, code "unsupported": the request means something that is not built yet.
absl::Status Unsupported(std::string_view param, std::string_view message);
//   kInvalidArgument, code "context_length_exceeded".
absl::Status ContextLengthExceeded(std::string_view param, std::string_view message);
//   kNotFound, code "model_not_found", param "model".
absl::Status ModelNotFound(std::string_view model);
//   kUnavailable, code "draining", with the time to come back: the server ends.
absl::Status Draining();
// Gives an existing error its code ("queue_full", "draining") and time to come back.
absl::Status WithCode(absl::Status status, std::string_view code);
absl::Status WithParam(absl::Status status, std::string_view param);
absl::Status WithRetryAfter(absl::Status status, absl::Duration after);

// `status` is not OK.
ApiError ToApiError(const absl::Status& status);

// What HTTP alone can go wrong with.
ApiError UnknownPath(std::string_view path);                                   // 404 unknown_url
ApiError MethodNotAllowed(std::string_view method, std::string_view allowed);  // 405, Allow
ApiError NotJson(std::string_view content_type);                               // 415
// 400, 408, 413, 431, 500, 503: of the HTTP layer, before there is a status of ours.
ApiError HttpLayerError(int http_status, std::string_view message);

enum class ErrorDialect { kOpenAi, kAnthropic };

struct ErrorReply {
  int http_status;
  std::string body;  // JSON, one line
  // Retry-After (whole seconds, rounded up) and retry-after-ms, WWW-Authenticate, Allow.
  std::vector<std::pair<std::string, std::string>> headers;
};

// kOpenAi:    {"error":{"message","type","param","code"}}, all four keys always.
// kAnthropic: {"type":"error","error":{"type","message"},"request_id"}; 503 becomes 529
//             overloaded_error.
ErrorReply WriteErrorReply(const ApiError& error, ErrorDialect dialect,
                           std::string_view request_id);
// The body alone, for a stream that has begun.
std::string ErrorBody(const ApiError& error, ErrorDialect dialect, std::string_view request_id);

}  // namespace tessera::gateway
