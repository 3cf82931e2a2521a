#pragma once

// Memory that operations reuse between calls, so that a step allocates nothing.

#include <cstddef>
#include <vector>

#include "common/tensor/aligned_buffer.h"

namespace tessera::kernels {

// Grows to the largest request and stays. One call at a time uses it, as one parallel region at a
// time uses the pool; lives as long as that. Contents are unspecified and 64-byte aligned; a
// pointer holds until the next call of the same method (and worker). Stops the process when memory
// is out: what a step needs is bounded by its config, and is reached in the first large step.
class Scratch {
 public:
  // By the calling thread, outside the parallel region.
  std::byte* Shared(size_t size_bytes) { return Reserve(shared_, size_bytes); }
  // Before a region that uses OfWorker; keeps what the workers have.
  void PrepareWorkers(size_t worker_count);
  // By worker `worker` of the region (< worker_count); workers do not disturb one another.
  std::byte* OfWorker(size_t worker, size_t size_bytes) {
    return Reserve(workers_[worker], size_bytes);
  }

 private:
  static std::byte* Reserve(AlignedBuffer& buffer, size_t size_bytes);

  AlignedBuffer shared_;
  std::vector<AlignedBuffer> workers_;
};

}  // namespace tessera::kernels
