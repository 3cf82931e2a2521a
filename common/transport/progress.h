#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/concurrency/thread.h"
#include "common/transport/transport.h"

namespace tessera {

struct ProgressConfig {
  // How long a waiting thread polls before it sleeps. Only where a core is idle for it: on a box
  // with more busy threads than cores spinning turns 20 us into 12 ms.
  absl::Duration spin = absl::ZeroDuration();
  // Drives the transport while no caller waits. Off: only callers drive (simulation).
  bool thread = true;
};

// Drives a Transport. A caller that waits lends its own thread: the frame that it waits for wakes
// it directly, one wake-up instead of two. While nobody waits (the engine computes, the shard's
// kernels run) the progress thread takes over within twice kTakeOver, so heartbeats are answered,
// sends finish and deaths are seen. One thread at a time sleeps in the transport; of several
// callers the others wait until it saw something or left, so no wake-up can go to the wrong one.
//
// Everything of the owner (an exchange) is guarded by mutex(); callbacks run under it.
class Progress {
 public:
  struct Callbacks {
    std::function<void(TransportEvent&)> on_event;
    // Called when due with Clock::Elapsed(); returns when to be called next.
    std::function<absl::Duration(absl::Duration now)> on_timer;
    // A HeldFrame of this memory was given back. May be empty.
    std::function<void(void* memory)> on_release;
  };

  // `clock` must outlive it. Start() begins; callbacks may be called from then on.
  Progress(std::unique_ptr<Transport> transport, const Clock& clock, const ProgressConfig& config);
  ~Progress() { Stop(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Start(Callbacks callbacks);
  // No callback afterwards. The transport stays usable under the mutex.
  void Stop();

  absl::Mutex& mutex() ABSL_LOCK_RETURNED(mutex_) { return mutex_; }
  Transport& transport() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return *transport_; }

  // Drives until done() (asked under the mutex) or until `timeout` passed. A zero timeout polls
  // once. Several threads may be here.
  void RunUntil(absl::FunctionRef<bool()> done, absl::Duration timeout)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // One Poll with its callbacks, and the timer if due.
  void PollOnce() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Gives a received frame's memory back.
  void Release(void* memory) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes all who wait look again.
  void WakeAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The timer is to be called by `when` at the latest.
  void HurryTimer(absl::Duration when) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  static constexpr absl::Duration kTakeOver = absl::Milliseconds(5);

 private:
  void Body(const std::stop_token& stop);
  // Sleeps without the mutex until something happens, the timer is due or `until`. One at a time.
  void SleepUntil(absl::Duration until) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock& clock_;  // constant after construction
  const ProgressConfig config_;
  Thread thread_;

  absl::Mutex mutex_;
  absl::CondVar callers_left_;     // the progress thread's
  absl::CondVar drive_or_events_;  // of callers while another drives
  const std::unique_ptr<Transport> transport_ ABSL_PT_GUARDED_BY(mutex_);
  Callbacks callbacks_ ABSL_GUARDED_BY(mutex_);
  std::vector<TransportEvent> events_ ABSL_GUARDED_BY(mutex_);
  absl::Duration timer_due_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteDuration();
  uint64_t calls_ ABSL_GUARDED_BY(mutex_) = 0;         // entries into and exits from RunUntil
  size_t callers_ ABSL_GUARDED_BY(mutex_) = 0;         // threads in RunUntil
  bool driven_ ABSL_GUARDED_BY(mutex_) = false;        // a thread sleeps for all, or will again
  bool asleep_ ABSL_GUARDED_BY(mutex_) = false;        // a thread is in Transport::Sleep
  absl::Duration nap_end_ ABSL_GUARDED_BY(mutex_);     // of it
  bool thread_dozes_ ABSL_GUARDED_BY(mutex_) = false;  // waits for callers_left_ without a limit
  bool polling_ ABSL_GUARDED_BY(mutex_) = false;
};

// Memory of a received frame, lent by a transport; given back when destroyed. Must not outlive the
// Progress.
class HeldFrame {
 public:
  HeldFrame() = default;
  HeldFrame(Progress* progress, void* memory) : progress_(progress), memory_(memory) {}
  HeldFrame(HeldFrame&& other) noexcept
      : progress_(other.progress_), memory_(std::exchange(other.memory_, nullptr)) {}
  HeldFrame& operator=(HeldFrame&& other) noexcept {
    std::swap(progress_, other.progress_);
    std::swap(memory_, other.memory_);
    return *this;
  }
  ~HeldFrame();
  // Gives the memory back under a mutex already held: that of its Progress.
  void ReleaseLocked() ABSL_NO_THREAD_SAFETY_ANALYSIS;

 private:
  Progress* progress_ = nullptr;
  void* memory_ = nullptr;
};

}  // namespace tessera
