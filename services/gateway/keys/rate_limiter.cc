#include "services/gateway/keys/rate_limiter.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/gateway/api/api_error.h"

namespace tessera::gateway {
namespace {

constexpr absl::Duration kMinute = absl::Minutes(1);
// When a running request will end is not known; this is how soon it is worth another look.
constexpr absl::Duration kParallelRetry = absl::Seconds(1);

// Buckets of keys without a limit are never asked.
double CapacityOf(uint32_t per_minute) { return per_minute == 0 ? 1 : per_minute; }

// "1.5s", "6m", "20ms".
std::string DurationText(absl::Duration duration) {
  return absl::FormatDuration(absl::Ceil(duration, absl::Milliseconds(1)));
}

absl::Status OverLimit(const ApiKey& key, std::string_view what, absl::Duration retry_after) {
  const std::string message =
      absl::StrCat("The key '", key.name, "' has reached its limit of ", std::string(what),
                   "; come back in ", DurationText(retry_after));
  return WithRetryAfter(WithCode(absl::ResourceExhaustedError(message), "rate_limit_exceeded"),
                        retry_after);
}

}  // namespace

void TokenBucket::Refill(absl::Duration now) {
  const double part = absl::FDivDuration(now - at_, period_);
  if (part > 0) level_ = std::min(capacity_, level_ + capacity_ * part);
  at_ = std::max(at_, now);
}

void TokenBucket::Resize(double capacity, absl::Duration now) {
  Refill(now);
  level_ += capacity - capacity_;
  capacity_ = capacity;
}

double TokenBucket::Level(absl::Duration now) {
  Refill(now);
  return level_;
}

void TokenBucket::Take(double amount, absl::Duration now) {
  Refill(now);
  level_ = std::min(capacity_, level_ - amount);
}

absl::Duration TokenBucket::Until(double amount, absl::Duration now) {
  Refill(now);
  const double missing = std::min(amount, capacity_) - level_;
  if (missing <= 0) return absl::ZeroDuration();
  return period_ * (missing / capacity_);
}

RateLimiter::Use& RateLimiter::UseOf(const ApiKey& key, absl::Duration now) {
  if (uses_.size() >= kKeysMax && !uses_.contains(key.name)) {
    absl::erase_if(uses_, [](const auto& entry) { return entry.second.running == 0; });
  }
  const double requests = CapacityOf(key.requests_per_minute);
  const double tokens = CapacityOf(key.tokens_per_minute);
  const auto [at, is_new] =
      uses_.try_emplace(key.name, Use{.requests = TokenBucket(requests, kMinute, now),
                                      .tokens = TokenBucket(tokens, kMinute, now)});
  if (!is_new) {
    at->second.requests.Resize(requests, now);
    at->second.tokens.Resize(tokens, now);
  }
  return at->second;
}

absl::Status RateLimiter::Refusal(const ApiKey& key, Use& use, double tokens, absl::Duration now) {
  if (key.parallel_max > 0 && use.running >= key.parallel_max)
    return OverLimit(key, absl::StrCat(key.parallel_max, " requests at a time"), kParallelRetry);
  if (key.requests_per_minute > 0) {
    if (const absl::Duration wait = use.requests.Until(1, now); wait > absl::ZeroDuration())
      return OverLimit(key, absl::StrCat(key.requests_per_minute, " requests a minute"), wait);
  }
  if (key.tokens_per_minute > 0) {
    if (const absl::Duration wait = use.tokens.Until(tokens, now); wait > absl::ZeroDuration())
      return OverLimit(key, absl::StrCat(key.tokens_per_minute, " tokens a minute"), wait);
  }
  return absl::OkStatus();
}

absl::Status RateLimiter::Check(const ApiKey& key) {
  const absl::Duration now = clock_.Elapsed();
  const absl::MutexLock lock(&mutex_);
  return Refusal(key, UseOf(key, now), /*tokens=*/1, now);
}

absl::Status RateLimiter::Admit(const ApiKey& key, uint64_t tokens) {
  const absl::Duration now = clock_.Elapsed();
  const absl::MutexLock lock(&mutex_);
  Use& use = UseOf(key, now);
  const auto amount = static_cast<double>(tokens);
  TESSERA_RETURN_IF_ERROR(Refusal(key, use, amount, now));
  if (key.tokens_per_minute > 0) use.tokens.Take(amount, now);
  if (key.requests_per_minute > 0) use.requests.Take(1, now);
  ++use.running;
  return absl::OkStatus();
}

void RateLimiter::Release(const ApiKey& key, uint64_t tokens, uint64_t tokens_used) {
  const absl::Duration now = clock_.Elapsed();
  const absl::MutexLock lock(&mutex_);
  Use& use = UseOf(key, now);
  if (use.running > 0) --use.running;
  if (key.tokens_per_minute > 0)
    use.tokens.Take(static_cast<double>(tokens_used) - static_cast<double>(tokens), now);
}

RateLimiter::Headers RateLimiter::HeadersFor(const ApiKey& key) {
  const absl::Duration now = clock_.Elapsed();
  const absl::MutexLock lock(&mutex_);
  Use& use = UseOf(key, now);
  Headers headers;
  const auto add = [&](const char* what, uint32_t limit, TokenBucket& bucket) {
    if (limit == 0) return;
    const double level = std::max(0.0, std::floor(bucket.Level(now)));
    headers.emplace_back(absl::StrCat("x-ratelimit-limit-", what), absl::StrCat(limit));
    headers.emplace_back(absl::StrCat("x-ratelimit-remaining-", what),
                         absl::StrCat(static_cast<uint64_t>(level)));
    headers.emplace_back(absl::StrCat("x-ratelimit-reset-", what),
                         DurationText(bucket.Until(limit, now)));
  };
  add("requests", key.requests_per_minute, use.requests);
  add("tokens", key.tokens_per_minute, use.tokens);
  return headers;
}

}  // namespace tessera::gateway
