#pragma once

// Which experts, and which shards, the rows of this router's steps went to.
//
//   engine: per layer CountRouting, dispatch: per answer CountAnswer ─► Commit | Abort
//   anybody: Window, Totals, balance of a layer
//
// A step counts when it is committed, so that rows of a step that was run again count once, and the
// sum over a layer's experts is always its rows times top_k, as is the sum over its shards.
// The same numbers are what the balancer plans with.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/ids.h"
#include "services/router/tally/answered_call.h"
#include "services/router/tally/rolling_counts.h"

namespace tessera::router {

class ExpertTally {
 public:
  struct ShardCounts {
    ShardId shard{};
    std::vector<uint64_t> layer_rows;  // [layers]: (row, expert) pairs it answered
    // [layers]: different experts of the calls it answered, summed over them; empty in a Window.
    std::vector<uint64_t> layer_experts;
  };
  struct Counts {
    std::vector<uint64_t> rows;       // [layers, expert_count]
    std::vector<ShardCounts> shards;  // ascending; those that ever answered
  };
  // Since the start, of each expert.
  struct StepCounts {
    std::vector<uint64_t> rows;     // [layers, expert_count]
    std::vector<uint64_t> touches;  // [layers, expert_count] steps that sent the expert any row
    std::vector<uint64_t> steps;    // [layers] steps that came through the layer
  };
  // Since the start, of each shard.
  struct Spread {
    std::vector<ShardCounts> shards;  // as in Counts
    std::vector<uint64_t> steps;      // [layers] steps that shards answered
    std::vector<double>
        step_balances;  // [layers] sum over them of mean / largest of the shards' pairs
  };

  // `layers`: those with experts, ascending, each below 65536.
  ExpertTally(std::vector<LayerIndex> layers, size_t expert_count);

  const std::vector<LayerIndex>& layers() const { return layers_; }
  size_t expert_count() const { return expert_count_; }
  static constexpr absl::Duration window() { return absl::Seconds(RollingCounts::kWindowSeconds); }

  // Owned by the engine thread; nothing here waits, but for a shard's first answer ever.

  // The gate's choice for the rows of a layer, [rows, top_k]. A layer counts once in a step: the
  // last call of it.
  void CountRouting(LayerIndex layer, std::span<const uint32_t> experts);
  void CountAnswer(const AnsweredCall& call);
  // Over so many shards a step could spread, from here on; 0, the beginning: those that answer.
  void SetShardCount(size_t count) { shard_count_ = count; }
  void Commit(absl::Duration now);  // Clock::Elapsed()
  void Abort();

  // Thread-safe.

  // The last ten seconds.
  Counts Window(absl::Duration now) const;
  // Since the start.
  Counts Totals() const;
  // These may have a step in part that is committed meanwhile.
  StepCounts Steps() const;
  Spread ReadSpread() const;

 private:
  template <typename T>
  using Atomics = std::vector<std::atomic<T>>;
  struct ShardRow {
    ShardRow(ShardId id, size_t layers)
        : shard(id), pending(layers), pending_experts(layers), counts(layers), experts(layers) {}
    const ShardId shard;
    bool has_pending = false;  // the engine thread's, as the next
    std::vector<uint32_t> pending;
    std::vector<uint32_t> pending_experts;
    RollingCounts counts;
    Atomics<uint64_t> experts;
  };
  ShardRow& RowOf(ShardId shard);
  template <typename Read>
  Counts ReadAll(const Read& read) const;
  void CommitRouting(int64_t second);
  void CommitShards(int64_t second);

  const std::vector<LayerIndex> layers_;  // constant after construction
  const size_t expert_count_;
  std::vector<size_t> place_of_layer_;  // [layer index]: into layers_

  // The engine thread's.
  std::vector<uint32_t> pending_;         // [layers, expert_count], of the step at work
  std::vector<ShardRow*> rows_by_shard_;  // [shard id]; null: never answered
  bool has_pending_ = false;
  size_t shard_count_ = 0;
  struct LayerSpread {
    uint64_t sum = 0;
    uint64_t most = 0;
    size_t shards = 0;
  };
  std::vector<LayerSpread> spread_;  // [layers] scratch of CommitShards

  RollingCounts counts_;            // [layers, expert_count]
  Atomics<uint64_t> touches_;       // [layers, expert_count]
  Atomics<uint64_t> steps_;         // [layers]
  Atomics<uint64_t> spread_steps_;  // [layers]
  Atomics<double> step_balances_;   // [layers]
  mutable absl::Mutex mutex_;
  std::vector<std::unique_ptr<ShardRow>> shards_ ABSL_GUARDED_BY(mutex_);  // ascending; never fewer
};

// How evenly work is spread; all 1 if there is none.
struct Balance {
  double mean_to_max = 1;  // mean over the largest, (0, 1]
  double max_to_mean = 1;  // the largest over the mean, >= 1
  // (sum x)^2 / (n sum x^2), 1/n .. 1: the share of members that would do if all worked alike.
  // Jain, Chiu, Hawe 1984.
  double jain_index = 1;
};
Balance BalanceOf(std::span<const uint64_t> work);

}  // namespace tessera::router
