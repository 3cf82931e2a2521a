#include "services/expert_shard/batching/load_meter.h"

#include <algorithm>
#include <bit>

namespace tessera::expert_shard {
namespace {

constexpr absl::Duration kBucket = absl::Milliseconds(100);

int64_t NumberOf(absl::Duration at) { return at / kBucket; }

}  // namespace

LoadMeter::Bucket& LoadMeter::At(int64_t number) {
  Bucket& bucket = buckets_[static_cast<size_t>(number) % kBuckets];
  if (bucket.number != number) bucket = Bucket{.number = number, .busy = {}, .waits = {}};
  return bucket;
}

void LoadMeter::CountBusy(absl::Duration begin, absl::Duration end) {
  absl::MutexLock lock(&mutex_);
  const int64_t last = NumberOf(end);
  const int64_t first = std::max(NumberOf(begin), last - static_cast<int64_t>(kBuckets) + 1);
  for (int64_t number = first; number <= last; ++number) {
    const absl::Duration from = std::max(begin, number * kBucket);
    const absl::Duration to = std::min(end, (number + 1) * kBucket);
    At(number).busy += std::max(to - from, absl::ZeroDuration());
  }
}

void LoadMeter::CountWait(absl::Duration now, absl::Duration wait) {
  const uint64_t us = static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Microseconds(wait)));
  const size_t bin = std::min<size_t>(us <= 1 ? 0 : std::bit_width(us - 1), kWaits - 1);
  absl::MutexLock lock(&mutex_);
  ++At(NumberOf(now)).waits[bin];
}

double LoadMeter::BusyRatio(absl::Duration now) const {
  absl::MutexLock lock(&mutex_);
  const int64_t number = NumberOf(now);
  absl::Duration busy;
  for (const Bucket& bucket : buckets_) {
    if (IsRecent(bucket, number)) busy += bucket.busy;
  }
  const absl::Duration window =
      (static_cast<int64_t>(kBuckets) - 1) * kBucket + (now - number * kBucket);
  return std::clamp(absl::FDivDuration(busy, window), 0.0, 1.0);
}

absl::Duration LoadMeter::WaitMedian(absl::Duration now) const {
  std::array<uint64_t, kWaits> waits{};
  uint64_t count = 0;
  {
    absl::MutexLock lock(&mutex_);
    for (const Bucket& bucket : buckets_) {
      if (!IsRecent(bucket, NumberOf(now))) continue;
      for (size_t i = 0; i < kWaits; ++i) {
        waits[i] += bucket.waits[i];
        count += bucket.waits[i];
      }
    }
  }
  uint64_t seen = 0;
  for (size_t i = 0; i < kWaits; ++i) {
    seen += waits[i];
    if (count > 0 && 2 * seen >= count) return absl::Microseconds(int64_t{1} << i);
  }
  return absl::ZeroDuration();
}

}  // namespace tessera::expert_shard
