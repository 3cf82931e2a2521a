#include "services/gateway/session/router_metrics.h"

#include <algorithm>
#include <utility>

namespace tessera::gateway {

RouterMetrics::RouterMetrics(Registry& registry, const std::string& model_name) {
  const Registry::Labels labels = {{"model_name", model_name}};
  kv_usage_ = registry.AddGauge("tessera_kv_cache_usage_perc",
                                "Share of the key and value blocks in use at the fullest router, "
                                "0..1.",
                                labels);
  sequences_running_ = registry.AddGauge("tessera_gateway_router_sequences_running",
                                         "Sequences the routers compute.", labels);
  sequences_waiting_ = registry.AddGauge("tessera_gateway_router_sequences_waiting",
                                         "Sequences that wait at the routers.", labels);
  preemptions_ = registry.AddCounter("tessera_num_preemptions_total",
                                     "Sequences that gave up their blocks for others.", labels);
}

void RouterMetrics::Refresh(const std::vector<RouterStatus>& routers) {
  double kv_usage = 0;
  double running = 0;
  double waiting = 0;
  for (const RouterStatus& router : routers) {
    if (!router.is_up) continue;
    kv_usage = std::max(kv_usage, double{router.report.kv_used_ratio});
    running += router.report.sequences_running;
    waiting += router.report.sequences_waiting;
    const uint64_t now = router.report.preemptions_total;
    const uint64_t before = std::exchange(preemptions_told_[router.address], now);
    // Less than before: it was started anew.
    preemptions_.Increment(static_cast<double>(now >= before ? now - before : now));
  }
  kv_usage_.Set(kv_usage);
  sequences_running_.Set(running);
  sequences_waiting_.Set(waiting);
}

}  // namespace tessera::gateway
