#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/check.h"

namespace tessera {

// First in, first out, between any number of pushing and popping threads. Thread-safe.
// A pusher never waits: a full queue is the caller's decision (refuse, shed, retry later).
template <typename T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) { TESSERA_CHECK(capacity > 0); }
  BoundedQueue(const BoundedQueue&) = delete;
  BoundedQueue& operator=(const BoundedQueue&) = delete;

  // False if the queue is full or closed; `item` is then untouched, and only then.
  bool TryPush(T&& item) {
    absl::MutexLock lock(&mutex_);
    if (closed_ || items_.size() >= capacity_) return false;
    items_.push_back(std::move(item));
    return true;
  }
  bool TryPush(const T& item) {
    T copy = item;
    return TryPush(std::move(copy));
  }

  // The oldest item; waits for one until `deadline` (real time). Nothing: the deadline passed, or
  // the queue is closed and empty.
  std::optional<T> PopUntil(absl::Time deadline) {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithDeadline(absl::Condition(this, &BoundedQueue::Poppable), deadline);
    return TakeFront();
  }
  // The same with a time from now, which a jump of the wall clock does not stretch.
  std::optional<T> PopFor(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(this, &BoundedQueue::Poppable), timeout);
    return TakeFront();
  }
  // Waits as long as it takes. Nothing: closed and empty, so a consumer's loop is
  // while (auto item = queue.Pop()) ...
  std::optional<T> Pop() { return PopFor(absl::InfiniteDuration()); }
  std::optional<T> TryPop() {
    absl::MutexLock lock(&mutex_);
    return TakeFront();
  }

  // Refuses every later push and wakes all who wait; what is inside can still be popped.
  void Close() {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }

  bool closed() const {
    absl::MutexLock lock(&mutex_);
    return closed_;
  }
  size_t size() const {
    absl::MutexLock lock(&mutex_);
    return items_.size();
  }
  size_t capacity() const { return capacity_; }

 private:
  bool Poppable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return closed_ || !items_.empty(); }
  std::optional<T> TakeFront() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    return item;
  }

  const size_t capacity_;

  mutable absl::Mutex mutex_;
  std::deque<T> items_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tessera
