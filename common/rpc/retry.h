#pragma once

// The only loop that calls again. What failed for a moment is tried once more, after a pause that
// grows, within a deadline, and only as long as most calls succeed: a budget keeps a failing peer
// from being buried under repetitions.

#include <atomic>
#include <cstdint>
#include <limits>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"

namespace tessera {

struct RetryPolicy {
  int attempts_max = 4;  // the first included; >= 1
  absl::Duration pause_first = absl::Milliseconds(20);
  absl::Duration pause_max = absl::Seconds(1);  // pauses double up to it
  double jitter = 0.5;                          // a pause is shortened by up to this share
};

struct RetryBudgetConfig {
  double retries_per_call = 0.1;  // earned by every call that counts
  double retries_saved_max = 10;  // what can be saved up
  double retries_at_start = std::numeric_limits<double>::infinity();  // at most what can be saved
};

// A share of all calls that may be spent on extra ones, so that a bad hour does not bury a peer
// under repetitions. Thread-safe and without a lock; one per peer or per kind of call.
class RetryBudget {
 public:
  explicit RetryBudget(const RetryBudgetConfig& config = {});

  // Takes one retry. False: spent.
  bool TryTake();
  // A call that earns its share: Retry counts those that succeed.
  void Count();

 private:
  // In millionths of a retry: whole numbers add up the same in any order.
  const int64_t share_;
  const int64_t saved_max_;
  std::atomic<int64_t> left_;
};

// What surrounds a retried call; all borrowed.
struct RetryContext {
  const Clock& clock;
  RetryBudget& budget;
  // Waits so long, or less if its owner stops (then false, and no attempt follows).
  absl::FunctionRef<bool(absl::Duration)> pause;
  uint64_t seed = 0;  // of the jitter
};

// kUnavailable: somebody else or a moment later may do. Everything else is an answer.
bool IsRetryable(const absl::Status& status);

// Calls `attempt(number, time_left)` (numbers from 0) until it succeeds, fails for good, or
// attempts, budget or `timeout` run out. Returns the last status; kDeadlineExceeded only if no
// attempt was made in time.
absl::Status Retry(const RetryPolicy& policy, const RetryContext& context, absl::Duration timeout,
                   absl::FunctionRef<absl::Status(int number, absl::Duration time_left)> attempt);

}  // namespace tessera
