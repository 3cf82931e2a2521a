#pragma once

// Threads for requests so large that reading and encoding them would keep a connection's thread
// from others.

#include <cstddef>
#include <functional>
#include <vector>

#include "common/concurrency/bounded_queue.h"
#include "common/concurrency/thread.h"

namespace tessera::gateway {

// Thread-safe.
class TextWorkers {
 public:
  TextWorkers(size_t thread_count, size_t waiting_max);
  ~TextWorkers() { Stop(); }

  // False: too many wait already.
  bool TryPush(std::function<void()> task) { return tasks_.TryPush(std::move(task)); }
  // Runs what waits and joins. A second Stop does nothing.
  void Stop();

 private:
  BoundedQueue<std::function<void()>> tasks_;
  std::vector<Thread> threads_;
};

}  // namespace tessera::gateway
