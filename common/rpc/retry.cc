#include "common/rpc/retry.h"

#include <algorithm>

#include "common/base/random.h"

namespace tessera {

bool RetryBudget::TryTake() {
  absl::MutexLock lock(&mutex_);
  if (left_ < 1) return false;
  left_ -= 1;
  return true;
}

void RetryBudget::CountSuccess() {
  absl::MutexLock lock(&mutex_);
  left_ = std::min(config_.retries_saved_max, left_ + config_.retries_per_success);
}

bool IsRetryable(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnavailable;
}

absl::Status Retry(const RetryPolicy& policy, const RetryContext& context, absl::Duration timeout,
                   absl::FunctionRef<absl::Status(int number, absl::Duration time_left)> attempt) {
  const absl::Duration end = context.clock.Elapsed() + timeout;
  absl::Duration pause = policy.pause_first;
  absl::Status status = absl::DeadlineExceededError("no time left for a first attempt");
  for (int number = 0; number < policy.attempts_max; ++number) {
    const absl::Duration left = end - context.clock.Elapsed();
    if (left <= absl::ZeroDuration()) return status;
    status = attempt(number, left);
    if (status.ok()) context.budget.CountSuccess();
    if (!IsRetryable(status) || number + 1 == policy.attempts_max) return status;
    const double share =
        1.0 - policy.jitter * RandomUniform(context.seed, static_cast<uint64_t>(number));
    const absl::Duration nap = pause * share;
    // A pause that outlives the deadline helps nobody.
    if (context.clock.Elapsed() + nap >= end || !context.budget.TryTake()) return status;
    if (!context.pause(nap)) return status;
    pause = std::min(pause * 2, policy.pause_max);
  }
  return status;
}

}  // namespace tessera
