#pragma once

// Who may call which route: deny by default. Pure functions.
//
//   route        no key file    key file, no or wrong key   key            admin key
//   kProbe       open           open                        open           open
//   kPage        open           open                        open           open
//   kModel       open           401                         open           open
//   kAdmin       open           401                         403            open
//   kUnknown     open (404)     401                         open (404)     open (404)
// Without a key file an Authorization header is ignored.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/gateway/keys/key_set.h"

namespace tessera::gateway {

enum class RouteClass : uint8_t {
  kProbe,    // /livez, /readyz, /startupz, /v2/health/...
  kPage,     // / and /web/: files that are the same for everyone
  kModel,    // everything that uses the model or tells about it
  kAdmin,    // /metrics, /v1/experts/load
  kUnknown,  // whatever else: 404 for those who may know
};

// By path, without its query.
RouteClass ClassOf(std::string_view path);

// `has_key_file`: the server was given one. `key`: of the request, null if none or wrong.
// Errors: kUnauthenticated; kPermissionDenied.
absl::Status CheckAccess(RouteClass route, bool has_key_file, bool presented_secret,
                         const ApiKey* key);
// kPermissionDenied. `key` may be null: no key file.
absl::Status CheckModel(const ApiKey* key, std::string_view model);
// The served name that a request means by `name`; "" is the first one that its key may use.
//   served  names of the model, not empty
// Errors: kNotFound with the code model_not_found; those of CheckModel.
absl::StatusOr<std::string> ResolveModel(std::span<const std::string> served, const ApiKey* key,
                                         const std::string& name);

}  // namespace tessera::gateway
