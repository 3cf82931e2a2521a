// Several threads that wait at once on one transport: nobody's wake-up goes to another.

#include "common/transport/progress.h"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <memory>
#include <utility>

#include "common/concurrency/thread.h"

namespace tessera {
namespace {

// Brings the events that a test pushes, and rings once for each: as much as a transport must.
class PushedTransport final : public Transport {
 public:
  void Push(uint64_t token) {
    absl::MutexLock lock(&mutex_);
    pushed_.push_back(token);
    rung_ = true;
    changed_.Signal();
  }
  size_t sleeps_at_once_max() const {
    absl::MutexLock lock(&mutex_);
    return sleepers_max_;
  }

  absl::StatusOr<std::string> Listen(const std::string&) override { return "here"; }
  absl::StatusOr<LinkId> Open(const std::string&) override { return LinkId{1}; }
  void Close(LinkId, bool) override {}
  bool Send(LinkId, std::span<const std::byte>, std::shared_ptr<const void>, uint64_t) override {
    return true;
  }
  void Release(void*) override {}
  void Poll(std::vector<TransportEvent>& events) override {
    absl::MutexLock lock(&mutex_);
    for (const uint64_t token : std::exchange(pushed_, {})) {
      events.emplace_back().token = token;
    }
  }
  bool Arm() override {
    absl::MutexLock lock(&mutex_);
    return pushed_.empty();
  }
  void Sleep(absl::Duration timeout) override {
    absl::MutexLock lock(&mutex_);
    sleepers_max_ = std::max(sleepers_max_, ++sleepers_);
    if (!rung_) changed_.WaitWithTimeout(&mutex_, timeout);
    rung_ = false;
    --sleepers_;
  }
  void Wake() override {
    absl::MutexLock lock(&mutex_);
    rung_ = true;
    changed_.Signal();
  }

 private:
  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  bool rung_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<uint64_t> pushed_ ABSL_GUARDED_BY(mutex_);
  size_t sleepers_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t sleepers_max_ ABSL_GUARDED_BY(mutex_) = 0;
};

class ProgressTest : public ::testing::Test {
 protected:
  static constexpr size_t kWaiters = 3;
  static constexpr absl::Duration kLong = absl::Seconds(20);

  void Start(absl::Duration spin) {
    auto transport = std::make_unique<PushedTransport>();
    transport_ = transport.get();
    progress_ =
        std::make_unique<Progress>(std::move(transport), clock_, ProgressConfig{.spin = spin});
    progress_->Start({.on_event = [this](TransportEvent& event) { ++arrived_[event.token]; },
                      .on_timer =
                          [this](absl::Duration now) {
                            timer_at_ = now;
                            return now + absl::Hours(1);
                          },
                      .on_release = {}});
  }
  // Waits for `count` events of `waiter`; how long it took.
  absl::Duration WaitFor(size_t waiter, size_t count, absl::Duration timeout = kLong) {
    const absl::Duration begin = clock_.Elapsed();
    absl::MutexLock lock(&progress_->mutex());
    progress_->RunUntil([&] { return arrived_[waiter] >= count; }, timeout);
    return clock_.Elapsed() - begin;
  }

  const RealClock clock_;
  PushedTransport* transport_ = nullptr;
  std::array<size_t, kWaiters> arrived_{};  // guarded by the progress's mutex
  absl::Duration timer_at_;                 // the same
  std::unique_ptr<Progress> progress_;
};

TEST_F(ProgressTest, EachOfSeveralWaitersIsWokenByItsOwnEvent) {
  constexpr size_t kRounds = 2000;
  for (const absl::Duration spin : {absl::ZeroDuration(), absl::Microseconds(20)}) {
    arrived_ = {};
    Start(spin);
    // Answers each who asks, mostly when all of them sleep.
    absl::Mutex mutex;
    std::deque<size_t> asked;
    Thread echo("echo", [&](std::stop_token stop) {
      for (;;) {
        absl::MutexLock lock(&mutex);
        const auto due = [&] { return !asked.empty() || stop.stop_requested(); };
        while (!mutex.AwaitWithTimeout(absl::Condition(&due), absl::Milliseconds(10))) {
        }
        if (asked.empty()) return;
        transport_->Push(asked.front());
        asked.pop_front();
      }
    });
    std::array<absl::Duration, kWaiters> longest{};
    std::vector<Thread> waiters;
    for (size_t waiter = 0; waiter < kWaiters; ++waiter) {
      waiters.emplace_back("waiter", [&, waiter](std::stop_token) {
        for (size_t round = 0; round < kRounds; ++round) {
          {
            absl::MutexLock lock(&mutex);
            asked.push_back(waiter);
          }
          longest[waiter] = std::max(longest[waiter], WaitFor(waiter, round + 1));
        }
      });
    }
    for (Thread& waiter : waiters) waiter.Join();
    echo.Stop();
    for (const absl::Duration wait : longest) EXPECT_LT(wait, kLong / 2);
    EXPECT_EQ(transport_->sleeps_at_once_max(), 1u);
    progress_->Stop();
  }
}

TEST_F(ProgressTest, OneThatLeavesHandsTheDrivingOn) {
  Start(absl::ZeroDuration());
  std::array<absl::Duration, kWaiters> waited{};
  std::vector<Thread> waiters;
  for (size_t waiter = 0; waiter < kWaiters; ++waiter) {
    // The first to sleep drives; whoever it is leaves with nothing, the last gets its event.
    const bool last = waiter + 1 == kWaiters;
    waiters.emplace_back("waiter", [&, waiter, last](std::stop_token) {
      waited[waiter] = WaitFor(waiter, 1, last ? kLong : absl::Milliseconds(20));
      if (waiter == 0) transport_->Push(kWaiters - 1);
    });
  }
  for (Thread& waiter : waiters) waiter.Join();
  EXPECT_LT(waited.back(), kLong / 2);
}

TEST_F(ProgressTest, ATimerIsHurriedWhileAnotherSleeps) {
  Start(absl::ZeroDuration());
  Thread sleeper("sleeper", [&](std::stop_token) { WaitFor(0, 1); });
  // Until somebody sleeps for the hour that the timer said, or the progress thread does.
  absl::MutexLock lock(&progress_->mutex());
  const absl::Duration asked = clock_.Elapsed();
  progress_->HurryTimer(asked + absl::Milliseconds(5));
  progress_->RunUntil([&] { return timer_at_ >= asked; }, kLong);
  EXPECT_LT(clock_.Elapsed() - asked, kLong / 2);
  transport_->Push(0);
}

}  // namespace
}  // namespace tessera
