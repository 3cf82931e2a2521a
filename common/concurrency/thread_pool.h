#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "absl/functional/function_ref.h"

namespace tessera {

struct ThreadPoolConfig {
  size_t thread_count =
      0;             // threads that compute, the caller's included; 0: as many as UsableCpuCount()
  bool pin = false;  // bind thread i to the i-th usable CPU (only where the process owns them all)
  size_t spin_rounds =
      2000;  // polls (with a pause each) before an idle worker sleeps; 0: sleep at once
};

// CPUs this process may really use: the smallest of the affinity mask and the cgroup quota (rounded
// up, at least 1), never the machine's core count alone.
size_t UsableCpuCount();

// The compute threads of a process. One parallel region at a time; the calling thread takes part.
// Idle workers spin a little, then sleep. Owned by the thread that calls ParallelFor.
class ThreadPool {
 public:
  explicit ThreadPool(const ThreadPoolConfig& config);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  size_t thread_count() const;

  // Calls body(begin, end, worker) for consecutive pieces of at most `grain` that cover [0, count)
  // once each; worker < thread_count() tells apart the threads (for scratch memory). Pieces are
  // claimed one by one, so uneven work and a slow core even out. Returns when all are done; what
  // the pieces wrote is visible then. `body` must not call ParallelFor of the same pool.
  void ParallelFor(size_t count, size_t grain,
                   absl::FunctionRef<void(size_t begin, size_t end, size_t worker)> body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tessera
