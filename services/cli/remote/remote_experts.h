#pragma once

// The expert shards of an engine of this process: its end of the exchange, and the shards as child
// processes, or in this process over loopback.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/metrics/metrics.h"
#include "services/cli/expert_host.h"
#include "services/router/assembly/router_model.h"

namespace tessera::cli {

// An ExpertHostFactory. The host is owned by the engine thread, which must be the main thread (the
// shards die with it); its end ends the shards. Returns when every expert can be called.
//   kInvalidArgument  an option that is unknown
//   kNotFound         no tessera-expert beside this program
//   kUnavailable      a shard does not start; its last words are in the message
absl::StatusOr<std::unique_ptr<ExpertHost>> StartRemoteExperts(const std::string& model_dir,
                                                               const ComputeOptions& options,
                                                               const router::RouterModel& model,
                                                               const Clock& clock,
                                                               Registry& registry);

// Bytes of memory that these processes have resident, those they share counted once
// (proportional set size); plain resident size where the kernel does not tell. Ended ones count 0.
size_t ResidentBytes(const std::vector<int>& pids);

}  // namespace tessera::cli
