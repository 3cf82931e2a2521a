#pragma once

// What several routers say of the same experts and shards, made one.

#include <cstddef>
#include <functional>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/wire/expert_load_wire.h"

namespace tessera::gateway {

// Adds the rows of `other`; of a shard the worst condition and the largest busy ratio count.
// Routers stay apart. False: `other` is about another model (its layers or experts differ), and
// `sum` is unchanged.
bool AddExpertLoad(const wire::ExpertLoad& other, wire::ExpertLoad& sum);

using ExpertLoadDone = std::function<void(absl::StatusOr<wire::ExpertLoad>)>;

// Waits for so many answers, then calls `done` with their sum; with the last error if there was
// nothing but errors. Thread-safe; `done` is called by whoever brings the last answer.
class LoadGathering {
 public:
  LoadGathering(size_t answers, ExpertLoadDone done) : done_(std::move(done)), missing_(answers) {}

  void Add(absl::StatusOr<wire::ExpertLoad> answer);

 private:
  const ExpertLoadDone done_;
  absl::Mutex mutex_;
  size_t missing_ ABSL_GUARDED_BY(mutex_);
  std::optional<wire::ExpertLoad> sum_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tessera::gateway
