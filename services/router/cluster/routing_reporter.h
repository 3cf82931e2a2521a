#pragma once

// Tells the leading router what a following one routed, so that the balancer sees all load.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/ids.h"
#include "common/rpc/cluster_secret.h"
#include "common/rpc/tls_files.h"
#include "services/router/balance/expert_totals.h"

namespace tessera::router {

// One caller at a time; Cancel from any thread.
class RoutingReporter {
 public:
  RoutingReporter(std::string leader, ClusterSecret secret, TlsFiles tls);
  ~RoutingReporter();

  // What was counted since the last report that was accepted; layers without steps are left out.
  // Errors of the call: the same numbers are to be told again later.
  absl::Status Report(const ExpertTotals& delta, absl::Duration timeout);
  // Ends the call that runs and fails all later ones.
  void Cancel();

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::router
