#pragma once

// A cluster without machines: routers that walk layers, shards that serve calls first come first
// served, links that take time, experts that are chosen by a law or a trace. Placement, dispatch
// and balancing are the real ones (PlanDispatch, LoadWindow, PlanBalance).
//
//   router: attention_us ─► PlanDispatch ─► a call per shard ─link─► queue ─► batch of one layer
//              ▲                                                                 │ call_us +
//              touch_us * experts └── next layer when all have answered
//              ◄──────────link─────────────┘     + row_us * pairs

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/moe/placement.h"
#include "services/router/balance/routing_source.h"

namespace tessera::cli {

struct SimulationConfig {
  PlacementShape shape{.layer_count = 60, .expert_count = 256};
  std::vector<LayerIndex> moe_layers;  // those with experts; empty: all
  uint32_t top_k = 4;
  size_t row_bytes_up = 6144;     // to a shard: bf16
  size_t row_bytes_down = 12288;  // of an answer: float32

  size_t shards = 16;
  size_t copies = 1;          // of every expert to begin with
  double spare_slots = 0.25;  // of the slots the experts take, in addition
  size_t routers = 1;
  size_t rows = 64;   // of each router's step: sequences that decode; a trace has its own numbers
  size_t steps = 50;  // of each router, measured
  uint64_t seed = 1;

  double attention_us = 100;  // of a router, a layer
  double post_us = 0;    // of a router, each call of a layer: written, posted, its answer added
  double step_us = 0;    // of a router, a step: embedding, logits, sampling
  double others_us = 0;  // of gateways and clients, for each row of a step
  double call_us = 20;   // of a shard: see CostModel
  double touch_us = 60;
  double row_us = 2;
  double link_us = 10;         // one way
  double link_gigabits = 100;  // of each shard
  // That routers, shards and others share, first come first served; 0: everyone has its own.
  size_t processors = 0;

  bool balance = true;
  size_t warmup_steps = 50;            // of each router, before the round; not measured
  size_t rounds = 1;                   // each after so many steps, loads_max bounds them
  size_t loads_max = SIZE_MAX;         // in a round
  double slots_kept_free = 0.1;        // of a shard's slots, by rounds; a router's default
  double unit_bytes = 57e6;            // of an expert of a layer
  double load_bytes_per_second = 1e9;  // of a shard that reads one

  size_t failures = 0;        // shards that die in the measured time, at equal distances
  double detect_ms = 60;      // until its calls go elsewhere
  double return_seconds = 1;  // until it is back with what it held
};

struct SimulationResult {
  double seconds = 0;            // simulated, measured part
  double tokens_per_second = 0;  // rows of steps: of a trace also those of prompts
  double steps_per_second = 0;   // of all routers
  double step_ms_p50 = 0;
  double step_ms_p99 = 0;
  double step_ms_max = 0;
  // Per layer mean / maximum over shards, averaged over layers.
  double window_balance = 0;   // of what calls cost (touch_us, row_us), all measured steps together
  double step_balance = 0;     // the same of each step, averaged
  double pairs_balance = 0;    // of (row, expert) pairs, all steps together
  double experts_balance = 0;  // of different experts, of each step, averaged
  double busy_mean = 0;        // share of time a shard computes
  double busy_max = 0;
  size_t loads = 0;        // by rounds
  double planned = 0;      // balance the last round promised
  size_t died_shards = 0;  // fewer than were to fail: only one was left
  size_t retried_calls = 0;
  size_t restored_experts = 0;
  // Times that an expert was asked for and nobody had room: its step waited until a shard was back.
  size_t roomless_experts = 0;
};

// Depends on its arguments only. kInvalidArgument naming the field.
absl::StatusOr<SimulationResult> Simulate(const SimulationConfig& config,
                                          router::RoutingSource& routing);

}  // namespace tessera::cli
