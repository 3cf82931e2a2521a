#pragma once

// Experts of an engine that are not its own, apart from how they are reached.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/metrics/metrics.h"
#include "services/router/assembly/router_model.h"
#include "services/router/dispatch/expert_calls.h"

namespace tessera::cli {

// How to compute; shared by the commands that load a model.
struct ComputeOptions {
  size_t threads = 0;                 // 0: as many as this process may use
  std::string isa = "auto";           // auto, avx2, avx512, amx
  std::string precision = "fast";     // float32, fast
  std::string expert_dtype = "auto";  // auto, f32, bf16, q8, q4
  std::string dense_dtype = "auto";
  std::string weights = "packed";  // packed, mapped

  // Where the experts are.
  size_t shards = 0;  // 0: here, no transport; else so many shards
  std::string transport =
      "shm";  // shm, ucx, grpc: child processes; loopback: shards of this process
  std::string idle_poll = "auto";  // of processors between the turns of shards: auto, on, off
  bool strict = false;             // the same bits whatever the number of shards
};

// Owned by the engine thread.
class ExpertHost {
 public:
  virtual ~ExpertHost() = default;
  virtual router::ExpertCalls& calls() = 0;
  // Of the processes that have the experts; empty if this one has.
  virtual std::vector<int> pids() const = 0;
};

// Starts options.shards shards for an engine of `model`; the references are borrowed for the host's
// life.
using ExpertHostFactory = std::function<absl::StatusOr<std::unique_ptr<ExpertHost>>(
    const std::string& model_dir, const ComputeOptions& options, const router::RouterModel& model,
    const Clock& clock, Registry& registry)>;

}  // namespace tessera::cli
