#pragma once

// A whole engine with its experts in this process: what `logits` and `bench` run.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/concurrency/thread_pool.h"
#include "common/device/host_memory.h"
#include "common/kernels/compute.h"
#include "common/kernels/scratch.h"
#include "common/kernels/weight_choice.h"
#include "common/model/model_spec.h"
#include "common/weights/checkpoint.h"
#include "common/weights/load_plan.h"
#include "common/weights/manifest.h"
#include "services/cli/local_experts.h"
#include "services/router/engine/engine.h"

namespace tessera::cli {

// How to compute; shared by the commands that load a model.
struct ComputeOptions {
  size_t threads = 0;                 // 0: as many as this process may use
  std::string isa = "auto";           // auto, avx2, avx512, amx
  std::string precision = "fast";     // float32, fast
  std::string expert_dtype = "auto";  // auto, f32, bf16, q8, q4
  std::string dense_dtype = "auto";
  std::string weights = "packed";  // packed, mapped
};

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
  LocalExperts::Observer routing_observer;  // sees what the gate chose; may be empty
};

// Owned by the thread that steps it.
class LocalEngine {
 public:
  // Loads the checkpoint in `model_dir`. `sink` and `clock` are borrowed. Errors: those of reading
  // and packing; kInvalidArgument for an option that is unknown; kFailedPrecondition for a CPU
  // without the instruction set; kResourceExhausted if weights and cache do not fit into memory,
  // with the arithmetic.
  static absl::StatusOr<std::unique_ptr<LocalEngine>> Create(
      const std::string& model_dir, const ComputeOptions& compute, const CapacityOptions& capacity,
      router::TokenSink& sink, const Clock& clock, const LoadProgress& progress);

  absl::Status Step() { return engine_->Step(); }
  router::Scheduler& scheduler() { return *scheduler_; }
  const router::KvCache& kv() const { return *kv_; }
  const ModelSpec& spec() const { return spec_; }
  const kernels::Compute& compute() const { return *compute_; }
  ThreadPool& pool() const { return *pool_; }
  const router::EngineMetrics& metrics() const { return *metrics_; }
  const LocalExperts& experts() const { return *experts_; }
  const router::ModelWeights& weights() const { return *weights_; }
  kernels::WeightType expert_weight_type() const { return store_->weight_type(); }
  size_t weight_bytes() const { return weights_->size_bytes() + store_->size_bytes(); }

 private:
  LocalEngine() = default;
  absl::Status ReadCheckpoint(const std::string& model_dir);
  absl::Status ChooseCompute(const ComputeOptions& options);
  absl::Status CreateKv(const CapacityOptions& capacity);
  absl::Status CheckMemory(const ComputeOptions& options) const;
  absl::Status LoadWeights(const ComputeOptions& options, const LoadProgress& progress);
  absl::Status BuildRooms(const CapacityOptions& capacity, router::TokenSink& sink,
                          const Clock& clock);

  Registry registry_;
  ModelSpec spec_;
  std::unique_ptr<const Checkpoint> checkpoint_;
  std::unique_ptr<ModelManifest> manifest_;
  std::unique_ptr<ThreadPool> pool_;
  kernels::Scratch scratch_;
  std::unique_ptr<kernels::Compute> compute_;
  std::unique_ptr<router::ModelWeights> weights_;
  std::unique_ptr<expert_shard::ExpertStore> store_;
  std::unique_ptr<router::KvCache> kv_;
  std::unique_ptr<router::Scheduler> scheduler_;
  std::unique_ptr<router::Sampler> sampler_;
  std::unique_ptr<router::Model> model_;
  std::unique_ptr<LocalExperts> experts_;
  std::unique_ptr<router::EngineMetrics> metrics_;
  std::unique_ptr<router::Engine> engine_;
};

}  // namespace tessera::cli
