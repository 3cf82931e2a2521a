#pragma once

// Errors of the project: absl::Status, two macros, and one table of what a code means to a caller.

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace tessera {

// Returns `status` with "context: " put before its message; kOk and the payloads stay as they are.
absl::Status Annotate(const absl::Status& status, std::string_view context);

// The HTTP status a client sees for `code`:
//   kInvalidArgument, kOutOfRange, kFailedPrecondition  400   fix the request
//   kUnauthenticated 401   kPermissionDenied 403   kNotFound 404   kAlreadyExists 409
//   kResourceExhausted 429 slow down              kCancelled 499  the client went away
//   kUnavailable 503       retry elsewhere        kDeadlineExceeded 504
//   kDataLoss, kInternal, kUnknown and others     500
int HttpStatusOf(absl::StatusCode code);

namespace status_internal {
inline absl::Status ToStatus(absl::Status status) { return status; }
template <typename T>
absl::Status ToStatus(absl::StatusOr<T>&& result) {
  return std::move(result).status();
}
}  // namespace status_internal

}  // namespace tessera

// Returns from the enclosing function if `expression` (absl::Status) is not OK.
#define TESSERA_RETURN_IF_ERROR(expression)                                 \
  do {                                                                      \
    if (absl::Status tessera_status = (expression); !tessera_status.ok()) { \
      return tessera_status;                                                \
    }                                                                       \
  } while (false)

// TESSERA_ASSIGN_OR_RETURN(Placement placement, ParsePlacement(text));
// Put a declaration with a comma in its type into parentheses of its own using-alias.
#define TESSERA_ASSIGN_OR_RETURN(declaration, expression)                                 \
  TESSERA_ASSIGN_OR_RETURN_IMPL_(TESSERA_CONCAT_(tessera_result_, __LINE__), declaration, \
                                 expression)
#define TESSERA_ASSIGN_OR_RETURN_IMPL_(result, declaration, expression)             \
  auto result = (expression);                                                       \
  if (!result.ok()) return ::tessera::status_internal::ToStatus(std::move(result)); \
  declaration = std::move(result).value()
#define TESSERA_CONCAT_(a, b) TESSERA_CONCAT_INNER_(a, b)
#define TESSERA_CONCAT_INNER_(a, b) a##b
