#include "services/router/dispatch/dispatch_config.h"

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera::router {
namespace {

absl::Status Positive(absl::Duration value, const char* name) {
  if (value > absl::ZeroDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("dispatch.", name, " is ", absl::FormatDuration(value), ", must be > 0"));
}

absl::Status AtLeast(double value, double least, const char* name) {
  if (value >= least) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("dispatch.", name, " is ", value, ", must be >= ", least));
}

}  // namespace

absl::Status DispatchConfig::Validate() const {
  TESSERA_RETURN_IF_ERROR(Positive(timeout_floor, "timeout_floor"));
  TESSERA_RETURN_IF_ERROR(Positive(timeout_unknown, "timeout_unknown"));
  TESSERA_RETURN_IF_ERROR(Positive(hedge_after_min, "hedge_after_min"));
  TESSERA_RETURN_IF_ERROR(Positive(exchange_timeout, "exchange_timeout"));
  TESSERA_RETURN_IF_ERROR(Positive(credit_poll, "credit_poll"));
  TESSERA_RETURN_IF_ERROR(Positive(retry_pause, "retry_pause"));
  TESSERA_RETURN_IF_ERROR(Positive(relocate_after, "relocate_after"));
  TESSERA_RETURN_IF_ERROR(Positive(late_max, "late_max"));
  TESSERA_RETURN_IF_ERROR(Positive(breaker_pause, "breaker_pause"));
  TESSERA_RETURN_IF_ERROR(AtLeast(timeout_factor, 1, "timeout_factor"));
  TESSERA_RETURN_IF_ERROR(AtLeast(hedge_share_max, 0, "hedge_share_max"));
  TESSERA_RETURN_IF_ERROR(AtLeast(retry_share, 0, "retry_share"));
  TESSERA_RETURN_IF_ERROR(AtLeast(retries_saved_max, 0, "retries_saved_max"));
  TESSERA_RETURN_IF_ERROR(AtLeast(attempts_max, 1, "attempts_max"));
  return AtLeast(breaker_failures, 1, "breaker_failures");
}

}  // namespace tessera::router
