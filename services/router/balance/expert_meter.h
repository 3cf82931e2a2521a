#pragma once

// What one router learns about experts while it works: how often they are chosen, what they cost.

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "services/router/balance/cost_model.h"
#include "services/router/balance/routing_trace.h"
#include "services/router/tally/answered_call.h"
#include "services/router/tally/expert_tally.h"

namespace tessera::router {

// Written by the engine thread, read by any.
struct ExpertMeter {
  // `layers`: those with experts, ascending.
  ExpertMeter(std::vector<LayerIndex> layers, size_t expert_count)
      : tally(std::move(layers), expert_count) {}

  // The answers of a step, before it is committed or aborted.
  void Count(std::span<const AnsweredCall> answers) {
    for (const AnsweredCall& answer : answers) {
      tally.CountAnswer(answer);
      costs.Observe(answer);
    }
    costs.Fold();
  }

  ExpertTally tally;
  CostFit costs;
  std::unique_ptr<RoutingRecorder>
      recorder;  // null: nothing is recorded; set before the first step
};

}  // namespace tessera::router
