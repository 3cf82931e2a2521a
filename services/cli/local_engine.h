#pragma once

// A whole engine in this process, its experts here or in shards: what `logits` and `bench` run.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/concurrency/thread_pool.h"
#include "common/device/host_memory.h"
#include "common/kernels/compute.h"
#include "common/kernels/kernel_choice.h"
#include "common/model/model_spec.h"
#include "common/weights/load_plan.h"
#include "services/cli/expert_host.h"
#include "services/cli/local_experts.h"
#include "services/router/assembly/router_rooms.h"
#include "services/router/engine/engine.h"

namespace tessera::cli {

// How much fits at once.
struct CapacityOptions {
  size_t context_max = 4096;        // tokens of one sequence
  size_t sequence_count = 1;        // sequences that must fit at the same time
  size_t batch_tokens_max = 2048;   // rows of a step
  size_t prefill_chunk_max = 2048;  // rows of one sequence in a step
  size_t logits_rows_max = 256;     // rows projected to logits in a step
  std::optional<router::BlockCounts>
      kv_blocks;  // instead of what the two first lines need; for tests
  bool prefix_cache = false;
  ObservedExperts::Observer routing_observer;  // sees what the gate chose; may be empty
};

// Owned by the thread that steps it.
class LocalEngine {
 public:
  // Loads the checkpoint in `model_dir`. `sink` and `clock` are borrowed. Errors: those of reading
  // and packing; kInvalidArgument for an option that is unknown; kFailedPrecondition for a CPU
  // without the instruction set; kResourceExhausted if weights and cache do not fit into memory,
  // with the arithmetic. start_shards: needed for compute.shards > 0 (StartRemoteExperts of
  // services/cli/remote); its errors as well.
  static absl::StatusOr<std::unique_ptr<LocalEngine>> Create(
      const std::string& model_dir, const ComputeOptions& compute, const CapacityOptions& capacity,
      router::TokenSink& sink, const Clock& clock, const LoadProgress& progress,
      const ExpertHostFactory& start_shards = {});

  absl::Status Step() { return rooms_->engine().Step(); }
  router::Scheduler& scheduler() { return rooms_->scheduler(); }
  const router::KvCache& kv() const { return rooms_->kv(); }
  const ModelSpec& spec() const { return model_->spec(); }
  const kernels::Compute& compute() const { return model_->compute(); }
  const kernels::KernelChoice& kernel_choice() const { return model_->kernel_choice(); }
  ThreadPool& pool() const { return model_->pool(); }
  const router::EngineMetrics& metrics() const { return rooms_->metrics(); }
  const ObservedExperts& experts() const { return *experts_; }
  const router::ModelWeights& weights() const { return model_->weights(); }
  kernels::WeightType expert_weight_type() const { return expert_type_; }
  // Of all processes.
  size_t weight_bytes() const { return weights().size_bytes() + expert_bytes_; }
  // Of the shards' processes; empty if there are none.
  std::vector<int> shard_pids() const;

 private:
  LocalEngine() = default;
  absl::Status CheckMemory(const ComputeOptions& options, size_t cache_bytes,
                           size_t logits_rows_max) const;
  absl::Status LoadWeights(const ComputeOptions& options, const LoadProgress& progress);
  // The calls to experts in shards, or to those just loaded.
  absl::StatusOr<router::ExpertCalls*> OpenExperts(const std::string& model_dir,
                                                   const ComputeOptions& options,
                                                   const Clock& clock,
                                                   const ExpertHostFactory& start_shards);

  Registry registry_;
  std::unique_ptr<router::RouterModel> model_;
  kernels::WeightType expert_type_ = kernels::WeightType::kF32;
  size_t expert_bytes_ = 0;
  std::unique_ptr<expert_shard::ExpertStore> store_;  // null: the experts are in shards
  std::unique_ptr<LocalExperts> local_;
  std::unique_ptr<ExpertHost> remote_;
  std::unique_ptr<ObservedExperts> experts_;
  std::unique_ptr<router::RouterRooms> rooms_;
};

}  // namespace tessera::cli
