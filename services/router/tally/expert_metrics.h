#pragma once

#include <string>

#include "services/router/tally/expert_tally.h"

namespace tessera::router {

// The totals of every (layer, expert) in Prometheus' text format, version 0.0.4: thousands of
// series, hence a page of its own that is off by default, /metrics/experts.
std::string ExpertMetricsText(const ExpertTally& tally);

}  // namespace tessera::router
