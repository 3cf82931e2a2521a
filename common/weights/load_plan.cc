#include "common/weights/load_plan.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status.h"

namespace tessera {
namespace {

// What the threads of one run share.
class RunState {
 public:
  RunState(size_t total_bytes, const LoadProgress& progress)
      : total_bytes_(total_bytes), progress_(progress) {}

  bool failed() const {
    absl::MutexLock lock(&mutex_);
    return !error_.ok();
  }

  void Finish(size_t bytes, const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    error_.Update(status);
    done_bytes_ += bytes;
    if (progress_) progress_(done_bytes_, total_bytes_);
  }

  absl::Status error() const {
    absl::MutexLock lock(&mutex_);
    return error_;
  }

 private:
  const size_t total_bytes_;      // constant after construction
  const LoadProgress& progress_;  // called under mutex_

  mutable absl::Mutex mutex_;
  size_t done_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

void LoadPlan::Add(std::string what, size_t bytes, absl::AnyInvocable<absl::Status()> work) {
  total_bytes_ += bytes;
  pieces_.push_back({std::move(what), bytes, std::move(work)});
}

absl::Status LoadPlan::Run(ThreadPool& pool, const LoadProgress& progress) {
  std::stable_sort(pieces_.begin(), pieces_.end(),
                   [](const Piece& a, const Piece& b) { return a.bytes > b.bytes; });
  RunState state(total_bytes_, progress);
  pool.ParallelFor(pieces_.size(), /*grain=*/1, [&](size_t begin, size_t end, size_t) {
    for (size_t i = begin; i < end && !state.failed(); ++i) {
      state.Finish(pieces_[i].bytes, Annotate(pieces_[i].work(), pieces_[i].what));
    }
  });
  pieces_.clear();
  total_bytes_ = 0;
  return state.error();
}

}  // namespace tessera
