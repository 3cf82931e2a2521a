#pragma once

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/check.h"

namespace tessera {

// The newest version of an immutable value: one writer publishes, any thread reads. A reader keeps
// its version alive for as long as it holds the pointer. Thread-safe.
template <typename T>
class Snapshot {
 public:
  // `initial` is not null, so that no reader ever meets nothing.
  explicit Snapshot(std::shared_ptr<const T> initial) : value_(std::move(initial)) {
    TESSERA_CHECK(value_ != nullptr);
  }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  // Copies a pointer under a short lock.
  std::shared_ptr<const T> Read() const {
    absl::MutexLock lock(&mutex_);
    return value_;
  }

  // Replaces the value; the one before dies with its last reader, never under the lock.
  void Publish(std::shared_ptr<const T> value) {
    TESSERA_CHECK(value != nullptr);
    absl::MutexLock lock(&mutex_);
    value_.swap(value);
  }

 private:
  mutable absl::Mutex mutex_;
  std::shared_ptr<const T> value_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera
