#pragma once

// Loading as a list of independent pieces of work, run by all compute threads with one progress
// report.

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "common/concurrency/thread_pool.h"

namespace tessera {

// Called after each piece, by one thread at a time: bytes of the checkpoint done so far, and of the
// whole plan.
using LoadProgress = std::function<void(size_t done_bytes, size_t total_bytes)>;

// Thread-compatible.
class LoadPlan {
 public:
  // `what` names the piece in errors; `work` may run on any thread, once, and never starts a
  // parallel region.
  void Add(std::string what, size_t bytes, absl::AnyInvocable<absl::Status()> work);
  size_t total_bytes() const { return total_bytes_; }

  // Runs all pieces, the largest first. After the first error the rest is skipped and that error
  // returned, annotated with its piece. `progress` may be empty.
  absl::Status Run(ThreadPool& pool, const LoadProgress& progress);

 private:
  struct Piece {
    std::string what;
    size_t bytes;
    absl::AnyInvocable<absl::Status()> work;
  };
  std::vector<Piece> pieces_;
  size_t total_bytes_ = 0;
};

}  // namespace tessera
