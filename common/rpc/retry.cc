#include "common/rpc/retry.h"

#include <algorithm>
#include <cmath>

#include "common/base/random.h"

namespace tessera {
namespace {

constexpr int64_t kOne = 1000000;
constexpr double kRetriesMax = 1e9;

int64_t Millionths(double retries) {
  return std::llround(std::clamp(retries, 0.0, kRetriesMax) * static_cast<double>(kOne));
}

}  // namespace

RetryBudget::RetryBudget(const RetryBudgetConfig& config)
    : share_(Millionths(config.retries_per_call)),
      saved_max_(Millionths(config.retries_saved_max)),
      left_(Millionths(std::min(config.retries_at_start, config.retries_saved_max))) {}

bool RetryBudget::TryTake() {
  int64_t left = left_.load(std::memory_order_relaxed);
  while (left >= kOne) {
    if (left_.compare_exchange_weak(left, left - kOne, std::memory_order_relaxed)) return true;
  }
  return false;
}

void RetryBudget::Count() {
  int64_t left = left_.load(std::memory_order_relaxed);
  while (left < saved_max_ &&
         !left_.compare_exchange_weak(left, std::min(saved_max_, left + share_),
                                      std::memory_order_relaxed)) {
  }
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
    if (status.ok()) context.budget.Count();
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
