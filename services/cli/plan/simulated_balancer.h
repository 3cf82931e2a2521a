#pragma once

// The balancer of a simulated cluster: counts what the gate chooses, plans a round as a router
// does, and lets its moves land a batch at a time.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/base/ids.h"
#include "common/moe/routing.h"
#include "services/cli/plan/cluster_simulation.h"
#include "services/cli/plan/simulated_shards.h"
#include "services/router/balance/balance_planner.h"
#include "services/router/balance/load_window.h"

namespace tessera::cli {

// Owned by the simulation.
class SimulatedBalancer {
 public:
  // `config` is borrowed. `layers`: those with experts.
  SimulatedBalancer(const SimulationConfig& config, std::vector<LayerIndex> layers);

  // One router's choice for a layer of a step.
  void Count(LayerIndex layer, const RoutingView& routing);

  // A round of moves for what was counted since the last. Requires idle(). No moves: still idle.
  void Plan(const SimulatedShards& shards);
  bool idle() const { return pending_.empty(); }
  // Microseconds until the next batch, a sixteenth of its round's moves, is read: all shards read
  // at once, so whoever has most to read decides. Requires !idle().
  double BatchUs() const;
  // The next batch is there, and what is moved is dropped. Requires !idle().
  void LandBatch(SimulatedShards& shards);

  size_t loads() const { return loads_; }      // by all rounds
  double planned() const { return planned_; }  // balance the last round promised

 private:
  void BeginCounting();
  std::span<const router::BalanceMove> Batch() const;

  const SimulationConfig& config_;
  const std::vector<LayerIndex> layers_;
  router::ExpertTotals counted_;   // since the last round
  std::vector<uint64_t> seen_in_;  // [experts] the Count that met the expert last
  uint64_t counts_ = 0;
  router::LoadWindow window_;
  std::vector<router::BalanceMove> pending_;  // of one round
  size_t batch_ = 0;                          // moves that land together in this round
  size_t loads_ = 0;
  double planned_ = 0;
};

}  // namespace tessera::cli
