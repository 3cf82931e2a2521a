#pragma once

// The paths every service's admin listener has.
//
//   /metrics          Prometheus' text format
//   /livez            200 while the process can answer, also while it drains
//   /readyz, /health  200 when it takes work; else 503, one reason a line
//   /startupz         200 from the first time on that it took work; else as /readyz
//   /version          {"version":"0.1.0"}

#include <functional>
#include <string>
#include <vector>

#include "common/http/http_server.h"
#include "common/metrics/metrics.h"

namespace tessera {

// Why a service takes no work now; empty: it does. Thread-safe, does not wait.
using ReadinessReasons = std::function<std::vector<std::string>()>;

// `registry` is borrowed and outlives the server.
std::vector<HttpRoute> AdminRoutes(const Registry& registry, ReadinessReasons reasons);

}  // namespace tessera
