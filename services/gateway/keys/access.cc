#include "services/gateway/keys/access.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/gateway/api/api_error.h"
#include "services/gateway/web/web_page.h"

namespace tessera::gateway {

RouteClass ClassOf(std::string_view path) {
  constexpr std::array<std::string_view, 5> kProbes = {"/livez", "/readyz", "/startupz",
                                                       "/v2/health/live", "/v2/health/ready"};
  constexpr std::array<std::string_view, 2> kAdmin = {"/metrics", "/v1/experts/load"};
  constexpr std::array<std::string_view, 11> kModel = {"/v1/chat/completions",
                                                       "/v1/completions",
                                                       "/v1/models",
                                                       "/v1/messages",
                                                       "/v1/messages/count_tokens",
                                                       "/v1/responses",
                                                       "/tokenize",
                                                       "/detokenize",
                                                       "/health",
                                                       "/version",
                                                       "/v2"};
  const auto has = [path](const auto& paths) {
    return std::find(paths.begin(), paths.end(), path) != paths.end();
  };
  if (has(kProbes)) return RouteClass::kProbe;
  if (IsWebPath(path)) return RouteClass::kPage;
  if (has(kAdmin)) return RouteClass::kAdmin;
  if (has(kModel) || path.starts_with("/v1/models/") || path.starts_with("/v2/models/"))
    return RouteClass::kModel;
  return RouteClass::kUnknown;
}

absl::Status CheckAccess(RouteClass route, bool has_key_file, bool presented_secret,
                         const ApiKey* key) {
  const bool is_open = route == RouteClass::kProbe || route == RouteClass::kPage;
  if (!has_key_file || is_open) return absl::OkStatus();
  if (key == nullptr) {
    return absl::UnauthenticatedError(
        presented_secret ? "The API key is not known here"
                         : "An API key is needed: send it as 'Authorization: Bearer <key>'");
  }
  if (route == RouteClass::kAdmin && !key->admin) {
    return absl::PermissionDeniedError(
        absl::StrCat("The key '", key->name, "' is no admin key, which this path needs"));
  }
  return absl::OkStatus();
}

absl::Status CheckModel(const ApiKey* key, std::string_view model) {
  if (key == nullptr || key->may_use(model)) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(
      "The key '", key->name, "' may not use the model '", std::string(model.substr(0, 200)), "'"));
}

absl::StatusOr<std::string> ResolveModel(std::span<const std::string> served, const ApiKey* key,
                                         const std::string& name) {
  if (name.empty()) {
    const auto allowed = std::find_if(served.begin(), served.end(), [key](const std::string& each) {
      return CheckModel(key, each).ok();
    });
    if (allowed != served.end()) return *allowed;
    return CheckModel(key, served.front());
  }
  if (std::find(served.begin(), served.end(), name) == served.end()) return ModelNotFound(name);
  TESSERA_RETURN_IF_ERROR(CheckModel(key, name));
  return name;
}

}  // namespace tessera::gateway
