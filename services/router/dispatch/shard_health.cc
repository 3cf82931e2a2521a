#include "services/router/dispatch/shard_health.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace tessera::router {
namespace {

constexpr double kPullUp = 0.5;
constexpr double kPullDown = kPullUp / 100;
constexpr uint32_t kDoublingsMax = 5;  // of a timeout

}  // namespace

size_t LatencyEstimate::BucketOf(size_t rows) {
  return std::min<size_t>(std::bit_width(std::max<size_t>(rows, 1) - 1), kBuckets - 1);
}

void LatencyEstimate::Add(size_t rows, absl::Duration latency) {
  const double seconds = std::max(absl::ToDoubleSeconds(latency), 1e-7);
  double& estimate = seconds_[BucketOf(rows)];
  if (estimate == 0) {
    estimate = seconds;
  } else {
    estimate += (seconds - estimate) * (seconds > estimate ? kPullUp : kPullDown);
  }
  ++samples_;
}

absl::Duration LatencyEstimate::P99(size_t rows) const {
  const size_t bucket = BucketOf(rows);
  for (size_t b = bucket + 1; b-- > 0;) {
    if (seconds_[b] > 0)
      return absl::Seconds(std::ldexp(seconds_[b], static_cast<int>(bucket - b)));
  }
  for (size_t b = bucket + 1; b < kBuckets; ++b) {
    if (seconds_[b] > 0) return absl::Seconds(seconds_[b]);
  }
  return absl::ZeroDuration();
}

void ShardHealth::Reset() {
  failures_ = 0;
  suspect_until_ = absl::ZeroDuration();
  given_up_after_ = absl::ZeroDuration();
  tripped_ = false;
  pause_ = absl::ZeroDuration();
}

void ShardHealth::OnAnswer(size_t rows, absl::Duration latency) {
  latency_.Add(rows, latency);
  Reset();
}

void ShardHealth::OnFailure(absl::Duration posted, absl::Duration now) {
  if (failures_ > 0 && posted < failed_at_) return;
  failed_at_ = now;
  ++failures_;
  if (tripped_ ? now < probe_at_ : failures_ < config_.breaker_failures) return;
  tripped_ = true;
  pause_ = pause_ == absl::ZeroDuration() ? config_.breaker_pause
                                          : std::min(2 * pause_, config_.breaker_pause_max);
  probe_at_ = now + pause_;
}

void ShardHealth::OnTimeout(absl::Duration posted, absl::Duration now) {
  suspect_until_ = now + config_.suspicion;
  OnFailure(posted, now);
}

ShardHealth::Breaker ShardHealth::breaker(absl::Duration now) const {
  if (!tripped_) return Breaker::kClosed;
  return now < probe_at_ ? Breaker::kOpen : Breaker::kHalfOpen;
}

absl::Duration ShardHealth::Timeout(size_t rows, uint32_t attempt) const {
  const absl::Duration p99 = latency_.P99(rows);
  const absl::Duration first = p99 == absl::ZeroDuration()
                                   ? config_.timeout_unknown
                                   : std::max(config_.timeout_floor, config_.timeout_factor * p99);
  // A call that is lost must be found late long before its layer's time is over, and who does not
  // need a slow shard is not to wait for it longer than late_max and late_max again.
  return std::min(std::max(first, 2 * given_up_after_) *
                      static_cast<double>(1u << std::min(attempt, kDoublingsMax)),
                  std::max(first, std::min(config_.late_max, config_.exchange_timeout / 4)));
}

absl::Duration ShardHealth::HedgeAfter(size_t rows) const {
  if (latency_.samples() < config_.hedge_samples_min) return absl::InfiniteDuration();
  return std::max(config_.hedge_after_min, latency_.P99(rows));
}

}  // namespace tessera::router
