#include "common/transport/progress.h"

#include <algorithm>

#include "common/base/check.h"

namespace tessera {
namespace {

// A caller that has waited for so many looks of the progress thread is idle: no need to look again.
constexpr int kIdleLooks = 10;
// Polls of a spinning caller between looks at the clock.
constexpr int kPollsPerLook = 16;

}  // namespace

Progress::Progress(std::unique_ptr<Transport> transport, const Clock& clock,
                   const ProgressConfig& config)
    : clock_(clock), config_(config), transport_(std::move(transport)) {}

void Progress::Start(Callbacks callbacks) {
  {
    absl::MutexLock lock(&mutex_);
    callbacks_ = std::move(callbacks);
    timer_due_ = clock_.Elapsed();
  }
  if (config_.thread) {
    thread_ = Thread("transport", [this](const std::stop_token& stop) { Body(stop); });
  }
}

void Progress::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    thread_.RequestStop();
    callers_left_.SignalAll();
    WakeAll();
  }
  thread_.Stop();
}

void Progress::PollOnce() {
  // A callback that sends may end here again; the outer call goes on with what the inner one left.
  if (polling_) return;
  polling_ = true;
  events_.clear();
  transport_->Poll(events_);
  for (TransportEvent& event : events_) callbacks_.on_event(event);
  bool happened = !events_.empty();
  if (const absl::Duration now = clock_.Elapsed(); now >= timer_due_) {
    timer_due_ = absl::InfiniteDuration();
    timer_due_ = std::min(timer_due_, callbacks_.on_timer(now));
    happened = true;
  }
  if (happened) WakeAll();  // it may be what another waits for
  polling_ = false;
}

void Progress::WakeAll() {
  if (asleep_) transport_->Wake();
  drive_or_events_.SignalAll();
}

void Progress::HurryTimer(absl::Duration when) {
  timer_due_ = std::min(timer_due_, when);
  if (asleep_ && timer_due_ < nap_end_) transport_->Wake();
}

void Progress::SleepUntil(absl::Duration until) {
  nap_end_ = std::min(until, timer_due_);
  const absl::Duration nap = nap_end_ - clock_.Elapsed();
  if (nap <= absl::ZeroDuration()) return;
  asleep_ = true;
  Transport& transport = *transport_;
  mutex_.Unlock();
  transport.Sleep(nap);  // needs no lock
  mutex_.Lock();
  asleep_ = false;
}

void Progress::RunUntil(absl::FunctionRef<bool()> done, absl::Duration timeout) {
  absl::Duration now = clock_.Elapsed();
  const absl::Duration end = now + timeout;
  const absl::Duration spin_end = now + std::min(timeout, config_.spin);
  // The progress thread goes, or what is meant for this caller would wake it first.
  if (callers_ == 0 && asleep_ && now < end) transport_->Wake();
  ++callers_;
  ++calls_;
  bool drives = false;
  for (int polls = 0;; ++polls) {
    PollOnce();
    if (done()) break;
    if (now < spin_end && polls % kPollsPerLook != 0) continue;
    now = clock_.Elapsed();
    if (now >= end) break;
    if (now < spin_end) {
      mutex_.Unlock();  // others want to post
      mutex_.Lock();
      continue;
    }
    if (driven_ && !drives) {
      drive_or_events_.WaitWithTimeout(&mutex_, end - now);
    } else {
      drives = driven_ = true;
      if (transport_->Arm()) SleepUntil(end);
    }
    now = clock_.Elapsed();
  }
  if (drives) driven_ = false;
  if (!driven_) drive_or_events_.Signal();
  --callers_;
  ++calls_;
  if (thread_dozes_) callers_left_.Signal();
}

void Progress::Body(const std::stop_token& stop) {
  absl::MutexLock lock(&mutex_);
  uint64_t seen = calls_;
  for (int quiet_looks = 0; !stop.stop_requested();) {
    quiet_looks = seen == calls_ ? quiet_looks + 1 : 0;
    seen = calls_;
    if (callers_ > 0 && quiet_looks >= kIdleLooks) {
      thread_dozes_ = true;
      callers_left_.Wait(&mutex_);
      thread_dozes_ = false;
    } else if (callers_ > 0 || quiet_looks == 0) {
      callers_left_.WaitWithTimeout(&mutex_, kTakeOver);
    } else {
      PollOnce();
      if (!transport_->Arm()) continue;
      driven_ = true;
      SleepUntil(absl::InfiniteDuration());
      driven_ = false;
      drive_or_events_.Signal();
    }
  }
}

void Progress::Release(void* memory) {
  transport_->Release(memory);
  if (callbacks_.on_release) callbacks_.on_release(memory);
}

void HeldFrame::ReleaseLocked() {
  if (memory_ != nullptr) progress_->Release(std::exchange(memory_, nullptr));
}

HeldFrame::~HeldFrame() {
  if (memory_ == nullptr) return;
  absl::MutexLock lock(&progress_->mutex());
  ReleaseLocked();
}

}  // namespace tessera
