#pragma once

// One thread that runs what is posted, in order: where sessions of gRPC clients live.

#include <deque>
#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/concurrency/thread.h"

namespace tessera::gateway {

// Thread-safe. Not bounded by itself: what posts is (tokens of admitted requests).
class TaskThread {
 public:
  TaskThread() : thread_("grpc-sessions", [this](std::stop_token) { Run(); }) {}
  ~TaskThread() { Stop(); }

  // Dropped after Stop.
  void Post(std::function<void()> task) {
    absl::MutexLock lock(&mutex_);
    if (!stopping_) tasks_.push_back(std::move(task));
  }
  // Runs what waits and joins. A second Stop does nothing.
  void Stop() {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
    }
    thread_.Join();
  }

 private:
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !tasks_.empty();
  }
  void Run() {
    for (;;) {
      std::deque<std::function<void()>> tasks;
      {
        absl::MutexLock lock(&mutex_);
        mutex_.Await(absl::Condition(this, &TaskThread::HasWork));
        if (tasks_.empty()) return;
        tasks.swap(tasks_);
      }
      for (auto& task : tasks) task();
    }
  }

  absl::Mutex mutex_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  Thread thread_;
};

}  // namespace tessera::gateway
