#pragma once

// tessera.v1.Observation as a gRPC service: what gateways show people of experts and shards.

#include <functional>
#include <memory>

#include "common/base/clock.h"
#include "common/rpc/server.h"
#include "common/wire/expert_load_wire.h"
#include "services/router/tally/expert_tally.h"

namespace tessera::router {

// The window of `tally` at `now`, with the shards in `activities` (ascending, without rows). A
// shard that answered and is not among them any more is left out. Of routers it has none.
wire::ExpertLoad LoadOf(const ExpertTally& tally, std::vector<wire::ShardActivity> activities,
                        absl::Duration now);

// Thread-safe. The server is stopped before this object dies.
class ObservationService {
 public:
  // Tells the load now; does not wait.
  explicit ObservationService(std::function<wire::ExpertLoad()> load);
  ~ObservationService();

  NamedService named();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::router
