#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/concurrency/thread.h"

namespace tessera {

enum class IdlePolling : uint8_t {
  kAuto,  // where it pays: WouldHalt()
  kOn,
  kOff,
};

// "auto", "on", "off"; else kInvalidArgument naming them.
absl::StatusOr<IdlePolling> ParseIdlePolling(std::string_view name);

// Whether processes of this machine that work by turns, each with `compute_threads`, leave
// processors without anything to run for moments: there are no more processors than threads, all of
// them ours (no CPU quota, which polling would use up).
bool WouldHalt(size_t compute_threads);

// Keeps the processors of this machine from halting while processes work for each other by turns.
// One that halts is woken in 50 to 100 us on a virtual machine, one that polls in 5 to 20 us. A
// thread for each processor of the affinity mask polls there under SCHED_IDLE: it gives way at once
// to whoever wants to run of the same scheduling group. Between groups, which are control groups
// and, where sched_autogroup_enabled is 1, sessions, the kernel shares by group: programs of other
// sessions were seen to start seconds late beside it. Without work nothing polls.
class IdlePoll {
 public:
  // Polling goes on for `linger` (> 0) behind each Extend(). `clock` must outlive it. Where the
  // kernel grants a thread no SCHED_IDLE or no processor, that thread says so and ends.
  IdlePoll(const Clock& clock, absl::Duration linger);
  ~IdlePoll();
  IdlePoll(const IdlePoll&) = delete;
  IdlePoll& operator=(const IdlePoll&) = delete;

  // A turn is about to be waited for. From any thread; wakes the pollers only if they sleep.
  void Extend();

  // Threads, and those of them that sleep now. From any thread.
  size_t thread_count() const { return threads_.size(); }
  size_t asleep() const { return asleep_.load(); }

 private:
  void Poll(const std::stop_token& stop, int cpu);
  void SleepUntilExtended(const std::stop_token& stop);
  bool expired() const { return clock_.Elapsed() >= absl::Nanoseconds(until_ns_.load()); }

  const Clock& clock_;
  const absl::Duration linger_;
  std::atomic<int64_t> until_ns_ = 0;  // of the clock
  // No lock: a thread that runs only when nobody else does may not hold what others wait for.
  std::atomic<size_t> asleep_ = 0;
  std::atomic<uint32_t> wakes_ = 0;  // what sleepers wait to see changed
  std::vector<Thread> threads_;
};

}  // namespace tessera
