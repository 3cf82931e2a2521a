#pragma once

// A checkpoint with everything a router computes it with: threads, kernels, and all weights but the
// routed experts.

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/concurrency/thread_pool.h"
#include "common/kernels/attention.h"
#include "common/kernels/compute.h"
#include "common/kernels/kernel_choice.h"
#include "common/kernels/scratch.h"
#include "common/kernels/weight_choice.h"
#include "common/model/model_spec.h"
#include "common/weights/checkpoint.h"
#include "common/weights/load_plan.h"
#include "common/weights/manifest.h"
#include "services/router/model/model_weights.h"

namespace tessera::router {

struct ComputeConfig {
  size_t threads = 0;                // 0: as many as this process may use; <= 4096
  std::string isa = "auto";          // auto, avx2, avx512, amx
  std::string precision = "fast";    // float32, fast
  std::string dense_dtype = "auto";  // auto, f32, bf16, q8, q4
  std::string weights = "packed";    // packed, mapped
};

// Whether "mapped" and not "packed"; kInvalidArgument for another name.
absl::StatusOr<bool> ParseMapped(const std::string& name);

// Owned by the thread that steps the engine; constant once the weights are loaded.
class RouterModel {
 public:
  // Reads config and manifest, starts the compute threads; loads nothing yet.
  //   kInvalidArgument      an option that is unknown or out of range, or a checkpoint that is none
  //   kFailedPrecondition   a CPU without the instruction set
  static absl::StatusOr<std::unique_ptr<RouterModel>> Open(const std::string& model_dir,
                                                           const ComputeConfig& config);

  // Adds the loading of the weights to `plan`, which others may share; weights() are there once it
  // has run. Errors: those of ModelWeights::Plan.
  absl::Status PlanWeights(LoadPlan& plan);
  // PlanWeights, runs it, and makes sure that the files did not change meanwhile.
  absl::Status Load(const LoadProgress& progress);

  const ModelSpec& spec() const { return spec_; }
  // Ids below mean something, by the checkpoint's tokenizer.json; the logits of others, which only
  // fill up the output head, are never sampled. spec().vocab where there is no such file.
  size_t token_count() const { return token_count_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const ModelManifest& manifest() const { return *manifest_; }
  ThreadPool& pool() const { return *pool_; }
  const kernels::Compute& compute() const { return *compute_; }
  const kernels::KernelChoice& kernel_choice() const { return kernel_choice_; }
  const ModelWeights& weights() const { return *weights_; }
  bool mapped() const { return mapped_; }
  kernels::WeightChoice dense_dtype() const { return dense_dtype_; }
  // Bytes the weights take or will take when packed.
  size_t PackedBytes() const;
  kernels::KvType kv_type() const;

 private:
  RouterModel() = default;
  absl::Status ChooseCompute(const ComputeConfig& config);
  absl::Status ReadCheckpoint(const std::string& model_dir);

  ModelSpec spec_;
  size_t token_count_ = 0;
  std::unique_ptr<const Checkpoint> checkpoint_;
  std::unique_ptr<ModelManifest> manifest_;
  std::unique_ptr<ThreadPool> pool_;
  kernels::Scratch scratch_;
  kernels::KernelChoice kernel_choice_;
  std::unique_ptr<kernels::Compute> compute_;
  kernels::WeightChoice dense_dtype_ = kernels::WeightChoice::kAuto;
  bool mapped_ = false;
  std::unique_ptr<ModelWeights> weights_;
};

}  // namespace tessera::router
