#include "services/gateway/rest/request_timeout.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "services/gateway/api/api_error.h"

namespace tessera::gateway {
namespace {

std::optional<absl::Duration> SecondsOf(std::string_view text) {
  double seconds = 0;
  if (!absl::SimpleAtod(std::string(text), &seconds) || !(seconds > 0) || !std::isfinite(seconds)) {
    return std::nullopt;
  }
  return absl::Seconds(seconds);
}

}  // namespace

absl::StatusOr<std::optional<absl::Duration>> TimeoutOf(const HttpRequest& request,
                                                        bool is_stream) {
  std::optional<absl::Duration> timeout;
  const auto take = [&timeout](std::optional<absl::Duration> value) {
    if (value.has_value()) timeout = std::min(*value, timeout.value_or(*value));
  };
  if (const std::string_view own = request.Header("x-request-timeout"); !own.empty()) {
    take(SecondsOf(own));
    if (!timeout.has_value()) {
      return BadRequest("", absl::StrCat("x-request-timeout is '", std::string(own.substr(0, 40)),
                                         "'; expected seconds above 0"));
    }
  }
  if (!is_stream) {
    take(SecondsOf(request.Header("x-stainless-timeout")));
    take(SecondsOf(request.Header("x-stainless-read-timeout")));
  }
  return timeout;
}

}  // namespace tessera::gateway
