#include "services/gateway/batching/admission.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/gateway/api/api_error.h"

namespace tessera::gateway {
namespace {

// The memory of the rate of starts.
constexpr absl::Duration kRateWindow = absl::Seconds(20);
constexpr size_t kIdleLinesMax = 4096;

}  // namespace

Admission::Admission(const AdmissionConfig& config, const Clock& clock, Registry& registry,
                     const Registry::Labels& labels)
    : config_(config),
      clock_(clock),
      waiting_gauge_(registry.AddGauge("tessera_num_requests_waiting",
                                       "Requests that wait for a router with room.", labels)),
      wait_histogram_(registry.AddHistogram(
          "tessera_gateway_admission_wait_seconds",
          "From a request's arrival in the queue until it was sent to a router.",
          {0.001, 0.005, 0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 5, 10, 20, 40, 60, 120, 240},
          labels)),
      rate_at_(clock.Elapsed()) {}

absl::Status Admission::Refusal(const AdmissionRequest& request) {
  if (draining_) return Draining();
  const Line& line = lines_[request.key];
  std::string what;
  if (queue_.size() >= config_.requests_max) {
    what = absl::StrCat(queue_.size(), " requests are waiting");
  } else if (line.waiting >= config_.key_requests_max) {
    what = absl::StrCat(line.waiting, " requests of this key are waiting");
  } else if (!queue_.empty() && tokens_waiting_ + request.tokens > config_.tokens_max) {
    what = absl::StrCat("requests of ", tokens_waiting_, " tokens are waiting");
  } else {
    return absl::OkStatus();
  }
  return WithRetryAfter(
      WithCode(absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", what)),
               "queue_full"),
      EstimatedWait());
}

absl::StatusOr<uint64_t> Admission::Enqueue(AdmissionRequest request) {
  const absl::StatusOr<uint64_t> number = TakeIn(std::move(request));
  if (number.ok() && on_arrival_) on_arrival_();
  return number;
}

absl::StatusOr<uint64_t> Admission::TakeIn(AdmissionRequest request) {
  absl::MutexLock lock(&mutex_);
  if (absl::Status refusal = Refusal(request); !refusal.ok()) return refusal;
  Line& line = lines_[request.key];
  Entry entry{.begin = std::max(virtual_time_, line.end), .queued_at = clock_.Elapsed()};
  const double end = entry.begin + request.tokens / std::max(request.weight, 1e-6);
  // Nobody is passed: others that wait keep their turn.
  if (queue_.empty()) {
    const absl::Status started = request.start();
    if (started.ok()) {
      line.end = end;
      entry.request = std::move(request);
      CountStart(entry);
      return 0;
    }
    if (!absl::IsResourceExhausted(started)) return started;
  }
  line.end = end;
  ++line.waiting;
  const uint64_t number = next_number_++;
  const Place place(request.priority, entry.begin, number);
  tokens_waiting_ += request.tokens;
  entry.request = std::move(request);
  queue_.emplace(place, std::move(entry));
  places_.emplace(number, place);
  waiting_gauge_.Set(static_cast<double>(queue_.size()));
  return number;
}

Admission::Entry Admission::Take(const Place& place) {
  auto node = queue_.extract(place);
  Entry entry = std::move(node.mapped());
  places_.erase(std::get<2>(place));
  tokens_waiting_ -= entry.request.tokens;
  --lines_[entry.request.key].waiting;
  waiting_gauge_.Set(static_cast<double>(queue_.size()));
  ForgetIdleLines();
  return entry;
}

void Admission::ForgetIdleLines() {
  if (lines_.size() <= kIdleLinesMax) return;
  absl::erase_if(lines_, [this](const auto& line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return line.second.waiting == 0 && line.second.end <= virtual_time_;
  });
}

void Admission::CountStart(const Entry& entry) {
  const absl::Duration now = clock_.Elapsed();
  virtual_time_ = std::max(virtual_time_, entry.begin);
  wait_histogram_.Observe(absl::ToDoubleSeconds(now - entry.queued_at));
  // An average that forgets: each start adds its tokens, spread over the window.
  rate_ = rate_ * std::exp(-absl::FDivDuration(now - rate_at_, kRateWindow)) +
          entry.request.tokens / absl::ToDoubleSeconds(kRateWindow);
  rate_at_ = now;
}

void Admission::Pump() {
  std::vector<std::pair<Entry, absl::Status>> failed;
  {
    absl::MutexLock lock(&mutex_);
    // The first in line is waited for: a smaller one behind it would starve it.
    while (!queue_.empty()) {
      const auto first = queue_.begin();
      const absl::Status started = first->second.request.start();
      // Without any router, too: one may be on its way back.
      if (absl::IsResourceExhausted(started) || absl::IsUnavailable(started)) break;
      Entry entry = Take(Place(first->first));
      if (started.ok()) {
        CountStart(entry);
      } else {
        failed.emplace_back(std::move(entry), started);
      }
    }
  }
  for (auto& [entry, status] : failed) entry.request.refuse(status);
}

void Admission::Tick() {
  std::vector<Entry> late;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Duration now = clock_.Elapsed();
    std::vector<Place> places;
    for (const auto& [place, entry] : queue_) {
      if (entry.request.deadline <= now || entry.queued_at + config_.wait_max <= now) {
        places.push_back(place);
      }
    }
    for (const Place& place : places) late.push_back(Take(place));
  }
  for (Entry& entry : late) {
    entry.request.refuse(absl::DeadlineExceededError("the request waited too long for a router"));
  }
  Pump();
}

bool Admission::Cancel(uint64_t number) {
  absl::MutexLock lock(&mutex_);
  const auto found = places_.find(number);
  if (found == places_.end()) return false;
  Take(Place(found->second));
  return true;
}

void Admission::Drain() {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
}

size_t Admission::waiting_count() const {
  absl::MutexLock lock(&mutex_);
  return queue_.size();
}

absl::Duration Admission::EstimatedWait() const {
  const double rate =
      rate_ * std::exp(-absl::FDivDuration(clock_.Elapsed() - rate_at_, kRateWindow));
  const double seconds = rate > 0 ? static_cast<double>(tokens_waiting_) / rate : 5;
  return absl::Seconds(std::clamp(std::ceil(seconds), 1.0, 60.0));
}

}  // namespace tessera::gateway
