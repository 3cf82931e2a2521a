#pragma once

#include <cstddef>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/check.h"

namespace tessera {

// Counts work under way, so that an owner can stop: Close refuses new work and waits for the old.
// Thread-safe. Must outlive its passes.
class Gate {
 public:
  // Held while the work runs; leaves when destroyed. Movable.
  class Pass {
   public:
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&& other) noexcept {
      std::swap(gate_, other.gate_);
      return *this;
    }
    ~Pass() {
      if (gate_ != nullptr) gate_->Leave();
    }

   private:
    friend class Gate;
    explicit Pass(Gate* gate) : gate_(gate) {}
    Gate* gate_;
  };

  Gate() = default;
  ~Gate() { TESSERA_CHECK(count() == 0); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // Nothing: the gate is closed.
  std::optional<Pass> TryEnter() {
    absl::MutexLock lock(&mutex_);
    if (closed_) return std::nullopt;
    ++count_;
    return Pass(this);
  }

  // Refuses new work from now on; does not wait.
  void Shut() {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }
  // Shut, then wait for what is under way. False: `timeout` passed first; may be called again.
  bool CloseFor(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    return mutex_.AwaitWithTimeout(absl::Condition(this, &Gate::Empty), timeout);
  }
  void Close() { CloseFor(absl::InfiniteDuration()); }

  bool closed() const {
    absl::MutexLock lock(&mutex_);
    return closed_;
  }
  // Work under way.
  size_t count() const {
    absl::MutexLock lock(&mutex_);
    return count_;
  }

 private:
  bool Empty() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return count_ == 0; }
  void Leave() {
    absl::MutexLock lock(&mutex_);
    --count_;
  }

  mutable absl::Mutex mutex_;
  size_t count_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tessera
