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

// Of the text Registry::Text gives.
inline constexpr char kMetricsContentType[] = "text/plain; version=0.0.4; charset=utf-8";

// Why a service takes no work now; empty: it does. Thread-safe, does not wait.
using ReadinessReasons = std::function<std::vector<std::string>()>;

// Adds what every service tells of itself: tessera_build_info{service,version}, and
// process_cpu_seconds_total, process_resident_memory_bytes and process_threads, which are read when
// somebody asks.
void AddProcessMetrics(Registry& registry, const std::string& service);

// `registry` is borrowed and outlives the server.
std::vector<HttpRoute> AdminRoutes(const Registry& registry, ReadinessReasons reasons,
                                   MetricAliases aliases = {});

}  // namespace tessera
