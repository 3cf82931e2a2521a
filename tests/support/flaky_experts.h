#pragma once

// Experts of this process that a test takes away and gives back.

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "services/cli/local_experts.h"
#include "services/router/cluster/shard_directory.h"
#include "services/router/dispatch/expert_calls.h"

namespace tessera::testing {

// Calls and directory in one: one shard with a copy of every unit that is not lost. The methods of
// the test are thread-safe.
class FlakyExperts final : public router::ExpertCalls, public router::ShardDirectory {
 public:
  using Unit = std::pair<uint32_t, uint32_t>;  // layer, expert

  FlakyExperts(router::ExpertCalls& calls, const ModelSpec& spec);

  // Only these are lost from now on.
  void Lose(std::vector<Unit> units);
  void Restore() { Lose({}); }
  // The next answer is this error.
  void FailOnce(absl::Status status);
  // Answers wait until Open.
  void Close();
  void Open();
  // Waits until an answer waits behind Close.
  void AwaitHeld();
  // Waits until so many answers since the start were errors.
  void AwaitFailures(size_t count);
  size_t failures() const;

  void BeginStep(std::span<const TraceContext> traces) override { calls_.BeginStep(traces); }
  absl::StatusOr<router::InFlight> Send(LayerIndex layer, const Routed& routed) override;
  absl::Status Receive(const router::InFlight& calls, MatrixView sum) override;
  void EndStep() override { calls_.EndStep(); }
  std::span<const uint32_t> homeless_rows() const override { return homeless_rows_; }

  std::shared_ptr<const router::ClusterView> View() const override;
  void ReportDown(PeerId, const absl::Status&) override {}
  void RequestUnits(LayerIndex, std::span<const ExpertId>, std::span<const ShardId>) override {}

 private:
  void Publish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  router::ExpertCalls& calls_;
  const ModelSpec spec_;
  std::vector<uint32_t> homeless_rows_;  // of the engine thread

  mutable absl::Mutex mutex_;
  absl::flat_hash_set<Unit> lost_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const router::ClusterView> view_ ABSL_GUARDED_BY(mutex_);
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status next_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  size_t failures_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace tessera::testing
