#pragma once

// Requests and tokens per minute, and requests at a time, of each key.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "services/gateway/keys/key_set.h"

namespace tessera::gateway {

// Holds `capacity` and refills evenly over `period`; may be overdrawn, and then waits longer.
// Thread-compatible. Times are Clock::Elapsed.
class TokenBucket {
 public:
  TokenBucket(double capacity, absl::Duration period, absl::Duration now)
      : capacity_(capacity), period_(period), level_(capacity), at_(now) {}

  // Changes the size; what is missing from the full bucket stays missing.
  void Resize(double capacity, absl::Duration now);
  double Level(absl::Duration now);
  void Take(double amount, absl::Duration now);  // negative: gives back
  // Until `amount` (at most the capacity counts) is there.
  absl::Duration Until(double amount, absl::Duration now);

 private:
  void Refill(absl::Duration now);

  double capacity_;
  absl::Duration period_;
  double level_;
  absl::Duration at_;
};

// Thread-safe. Limits are of this process: several gateways divide them by their number.
class RateLimiter {
 public:
  // `clock` is borrowed.
  explicit RateLimiter(const Clock& clock) : clock_(clock) {}

  // What Admit would say to the smallest request: for refusing early, before a prompt is read.
  absl::Status Check(const ApiKey& key);
  // Admits a request of `key` that will use about `tokens` (prompt and tokens_max; more than a
  // minute's worth counts as a minute's). Errors: kResourceExhausted, code "rate_limit_exceeded",
  // with the time to come back. On success Release must follow, once.
  absl::Status Admit(const ApiKey& key, uint64_t tokens);
  // The request has ended and used `tokens_used` of its `tokens`.
  void Release(const ApiKey& key, uint64_t tokens, uint64_t tokens_used);

  using Headers = std::vector<std::pair<std::string, std::string>>;
  // x-ratelimit-{limit,remaining,reset}-{requests,tokens} of the limits that `key` has. Resets are
  // times until the bucket is full, "1.5s" or "6m".
  Headers HeadersFor(const ApiKey& key);

 private:
  struct Use {
    TokenBucket requests;
    TokenBucket tokens;
    uint32_t running = 0;
  };
  static absl::Status Refusal(const ApiKey& key, Use& use, double tokens, absl::Duration now);
  Use& UseOf(const ApiKey& key, absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock& clock_;
  absl::Mutex mutex_;
  // By name, so that a key keeps its use over a reload. At most kKeysMax names live; names that
  // idle with full buckets are dropped at that size.
  absl::flat_hash_map<std::string, Use> uses_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::gateway
