#pragma once

// How busy the compute threads were in the last second, and how long calls waited for them.

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace tessera::expert_shard {

// Thread-safe. Times are Clock::Elapsed().
class LoadMeter {
 public:
  // A batch was computed from `begin` to `end`.
  void CountBusy(absl::Duration begin, absl::Duration end);
  // A call whose computing began at `now` had waited for so long.
  void CountWait(absl::Duration now, absl::Duration wait);

  // Share of the last second, 0..1.
  double BusyRatio(absl::Duration now) const;
  // Median of the last second's calls, within a factor of two; zero if there were none.
  absl::Duration WaitMedian(absl::Duration now) const;

 private:
  static constexpr size_t kBuckets = 10;  // of 100 ms
  static constexpr size_t kWaits = 32;    // bin i: up to 2^i us
  struct Bucket {
    int64_t number = -1;  // of the 100 ms it stands for
    absl::Duration busy;
    std::array<uint32_t, kWaits> waits{};
  };

  // Makes the bucket of `number` the current one if it is not.
  Bucket& At(int64_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static bool IsRecent(const Bucket& bucket, int64_t now_number) {
    return bucket.number >= 0 && bucket.number > now_number - static_cast<int64_t>(kBuckets);
  }

  mutable absl::Mutex mutex_;
  std::array<Bucket, kBuckets> buckets_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::expert_shard
