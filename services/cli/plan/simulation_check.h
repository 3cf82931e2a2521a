#pragma once

// Whether a simulation can be run.

#include "absl/status/status.h"
#include "services/cli/plan/cluster_simulation.h"

namespace tessera::cli {

// kInvalidArgument naming the field and what it may be: also times and rates with which the
// simulated time would have no end.
absl::Status CheckSimulation(const SimulationConfig& config);

}  // namespace tessera::cli
