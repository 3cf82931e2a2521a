#pragma once

// What the router thinks of one shard, from how its calls went. Local and without a vote: it steers
// where the next call goes, nothing else.
//
//            failures in a row                pause over
//   closed ─────────────────────► open ─────────────────────► half open
//      ▲                           ▲                            │    │
//      └── an answer               └── the probe failed ────────┘    │
//      └──────────────────────────────── the probe was answered ─────┘

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
#include "services/router/dispatch/dispatch_config.h"

namespace tessera::router {

// How long calls of a size take: one estimate for each power of two of rows. Each is the point
// that is pulled up a hundred times harder by a slower call than down by a faster one (an
// expectile), which lies near p99 for the tails seen here and needs one number instead of a
// history.
class LatencyEstimate {
 public:
  void Add(size_t rows, absl::Duration latency);
  // Zero if nothing is known. Sizes never seen are scaled from the nearest smaller one by rows,
  // else taken from the nearest larger one.
  absl::Duration P99(size_t rows) const;
  uint64_t samples() const { return samples_; }

 private:
  static size_t BucketOf(size_t rows);
  static constexpr size_t kBuckets = 18;  // up to 65536 rows and more

  std::array<double, kBuckets> seconds_{};  // 0: nothing seen
  uint64_t samples_ = 0;
};

// Owned by the engine thread. `now` is Clock::Elapsed().
class ShardHealth {
 public:
  enum class Breaker : uint8_t { kClosed = 0, kHalfOpen = 1, kOpen = 2 };

  explicit ShardHealth(const DispatchConfig& config) : config_(config) {}

  // A new process answers there: what was held against the old one is forgotten.
  void Reset();

  void OnAnswer(size_t rows, absl::Duration latency);
  // Of an attempt that was posted at `posted`. One that was on its way before the last failure
  // says nothing new: the parts of a long prompt are all late together.
  void OnFailure(absl::Duration posted, absl::Duration now);
  // A failure that also makes it suspect.
  void OnTimeout(absl::Duration posted, absl::Duration now);
  // A call that nobody waits for any longer, after `waited`: until an answer comes the next ones
  // are given more time. Otherwise a slow shard would be given up for ever.
  void OnGivenUp(absl::Duration waited) { given_up_after_ = std::max(given_up_after_, waited); }

  Breaker breaker(absl::Duration now) const;
  bool suspect(absl::Duration now) const { return now < suspect_until_; }
  // When an attempt of this number (0: the first) is late.
  absl::Duration Timeout(size_t rows, uint32_t attempt) const;
  // When a second copy may be sent; infinite: too little is known.
  absl::Duration HedgeAfter(size_t rows) const;

 private:
  const DispatchConfig& config_;
  LatencyEstimate latency_;
  uint32_t failures_ = 0;  // in a row
  absl::Duration failed_at_;
  absl::Duration given_up_after_;  // zero: an answer came since
  absl::Duration suspect_until_;   // Clock::Elapsed()
  bool tripped_ = false;
  absl::Duration probe_at_;  // when it half opens
  absl::Duration pause_;     // of the breaker, the last
};

}  // namespace tessera::router
