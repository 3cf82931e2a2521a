#pragma once

// More shards or fewer, while the cluster runs: the order of things, without processes.
//
//   more:  start all ─► all ready ─► done        one cannot start ─► stop the new ones ─► error
//   fewer: the highest: drain ─► stop ─► gone, then the next         it cannot be drained ─► error
//
// Shards are numbered 0 .. count-1. After an error the cluster is as it was, but for shards that
// were drained and stopped before.

#include <cstddef>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"

namespace tessera::cli {

// What a cluster can do with one of its shards; nothing of it blocks.
class ScalableShards {
 public:
  virtual ~ScalableShards() = default;

  virtual absl::Status StartShard(size_t shard) = 0;
  virtual bool IsReady(size_t shard) const = 0;
  // Why a shard that was started cannot be brought up; it is gone then.
  virtual std::optional<absl::Status> WhyGivenUp(size_t shard) = 0;
  // Begins to take a shard out of the map; one at a time.
  virtual void BeginDrain(size_t shard) = 0;
  // How that ended; nothing yet.
  virtual std::optional<absl::Status> DrainEnd() = 0;
  virtual void StopShard(size_t shard) = 0;
  virtual bool IsGone(size_t shard) const = 0;
};

// Thread-compatible.
class ClusterScaling {
 public:
  // Told of what happens on the way.
  using OnText = std::function<void(const std::string&)>;

  explicit ClusterScaling(ScalableShards& shards) : shards_(shards) {}

  // kFailedPrecondition: it is at work already. kInvalidArgument: not 1..256 shards.
  absl::Status Begin(size_t shard_count, size_t wanted, OnText on_text);
  bool busy() const { return phase_ != Phase::kIdle; }
  // Does what can be done now. The outcome, once, when it is over.
  std::optional<absl::Status> Advance();
  // Shards there are, those being started left out.
  size_t shard_count() const { return count_; }

 private:
  enum class Phase { kIdle, kStarting, kUndoing, kDraining, kStopping };

  std::optional<absl::Status> AdvanceStart();
  std::optional<absl::Status> AdvanceUndo();
  std::optional<absl::Status> AdvanceDrain();
  std::optional<absl::Status> AdvanceStop();
  std::optional<absl::Status> End(absl::Status status);
  void Undo(absl::Status why);

  ScalableShards& shards_;
  OnText on_text_;
  Phase phase_ = Phase::kIdle;
  size_t count_ = 0;
  size_t wanted_ = 0;
  size_t ready_ = 0;    // of the new ones, told so far
  size_t started_ = 0;  // beyond count_
  absl::Status why_;    // of Undo
};

}  // namespace tessera::cli
