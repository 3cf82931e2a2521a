#pragma once

// What dispatch tells Prometheus: totals of the exchange, and one set of series per shard.
//
// What happens in every layer of every step is tallied by the engine thread and told at the end of
// the step, Commit; what is rare is told at once.

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "common/base/ids.h"
#include "common/metrics/metrics.h"
#include "common/wire/reply_wire.h"

namespace tessera::router {

inline constexpr size_t kNackReasons = static_cast<size_t>(wire::NackReason::kFailed) + 1;

// One family, shared with the engine: the phases of a layer in seconds. `compute` lies within
// `wait`; all others add up to the step, but for embedding, logits and sampling.
inline constexpr char kLayerSecondsName[] = "tessera_router_layer_seconds_total";
inline constexpr char kLayerSecondsHelp[] =
    "Time steps spent in a layer, by phase: attention; dense; gate, plan, post, shared, wait, "
    "combine; compute, of the slowest shard, lies within wait.";

// Of one layer with experts.
struct LayerDispatchSeconds {
  LayerDispatchSeconds(Registry& registry, LayerIndex layer);
  void Commit();
  CounterTally plan;     // Send: which rows go where
  CounterTally post;     // Send: write, post
  CounterTally wait;     // Receive: until the last answer
  CounterTally compute;  // of the shard that computed longest, as the answers say
  CounterTally combine;  // Receive: adding up
};

struct DispatchMetrics {
  explicit DispatchMetrics(Registry& registry);
  void Commit();
  HistogramTally dispatch_seconds;  // Send: plan, write, post
  HistogramTally wait_seconds;      // Receive: until the last answer
  HistogramTally combine_seconds;   // Receive: adding up
  Counter homeless_layers;          // layers that met an expert nobody held
  Counter homeless_failures;        // of them, those nobody came to hold in time
  Counter late_failures;            // layers given up as a living shard took too long
  Counter relocations;              // late calls whose experts were asked of other shards
  Counter retries_held;             // retries that had to wait for the budget

  // Made when a layer is met first.
  LayerDispatchSeconds& OfLayer(LayerIndex layer);

 private:
  Registry& registry_;
  std::vector<std::optional<LayerDispatchSeconds>> layers_;  // [layer index]
};

// Labelled shard="<id>"; nacks also by reason.
struct ShardMetrics {
  ShardMetrics(Registry& registry, ShardId shard);
  void Commit();
  CounterTally calls;    // messages posted, retries and hedges included
  CounterTally rows;     // of those
  CounterTally pairs;    // (row, expert), of those
  CounterTally experts;  // distinct experts of a call, summed over calls
  Counter retries;       // posted after an earlier attempt failed or was late
  Counter hedges;        // posted beside an attempt that was slow
  Counter hedges_won;    // answered before it
  Counter timeouts;      // attempts that were late
  Counter failures;      // attempts lost with the peer, or answers that were corrupted
  Counter credit_waits;  // calls that found no free slot
  std::array<Counter, kNackReasons> nacks;
  Gauge breaker;  // 0 closed, 1 half open, 2 open
  // From the end of planning until the answer is taken up: writing, the way there and back, queue,
  // compute, and what the router computed meanwhile.
  HistogramTally call_seconds;
  HistogramTally queue_seconds;  // at the shard, as its answers say
  HistogramTally compute_seconds;
};

}  // namespace tessera::router
