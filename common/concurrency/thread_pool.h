#pragma once

#include <cstddef>
#include <memory>

#include "absl/functional/function_ref.h"
#include "common/concurrency/cpu_count.h"

namespace tessera {

struct ThreadPoolConfig {
  // Threads that compute, the caller's included; 0: as many as UsableCpuCount().
  size_t thread_count = 0;
  // Polls (with a pause each) before an idle worker, or a caller waiting for the last piece,
  // sleeps; 0: sleep at once. 2000 are 20 to 120 us, by CPU.
  size_t spin_rounds = 2000;
};

// The compute threads of a process. One parallel region at a time; the calling thread takes part.
// Idle workers spin a little, then sleep. Owned by the thread that calls ParallelFor.
class ThreadPool {
 public:
  explicit ThreadPool(const ThreadPoolConfig& config);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  size_t thread_count() const;

  // Calls body(begin, end, worker) for consecutive pieces of at most `grain` (> 0) that cover
  // [0, count) once each; worker < thread_count() tells apart the threads (for scratch memory).
  // Pieces are claimed one by one, so uneven work and a slow core even out. Returns when all are
  // done; what the pieces wrote is visible then. `body` must not call ParallelFor of the same pool.
  // A single piece runs in the caller, without waking anyone.
  void ParallelFor(size_t count, size_t grain,
                   absl::FunctionRef<void(size_t begin, size_t end, size_t worker)> body);

  // Idle workers sleep now instead of spinning on: for a caller that is about to wait for somebody
  // who wants the cores. The next region wakes them. Costs nothing.
  void Rest();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tessera
