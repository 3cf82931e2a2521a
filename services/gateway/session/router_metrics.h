#pragma once

// What the gateway's page says of the routers behind it, for dashboards and autoscalers that look
// at gateways only.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/metrics/metrics.h"
#include "services/gateway/upstream/router_pool.h"

namespace tessera::gateway {

// Owned by whoever calls Refresh, one at a time.
class RouterMetrics {
 public:
  RouterMetrics(Registry& registry, const std::string& model_name);

  void Refresh(const std::vector<RouterStatus>& routers);

 private:
  Gauge kv_usage_;  // of the fullest router
  Gauge sequences_running_;
  Gauge sequences_waiting_;
  Counter preemptions_;
  std::map<std::string, uint64_t> preemptions_told_;  // by router
};

}  // namespace tessera::gateway
