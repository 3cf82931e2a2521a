#pragma once

// The part of a model that a shard holds, loaded and checked, with what computes it.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/concurrency/thread_pool.h"
#include "common/kernels/compute.h"
#include "common/kernels/scratch.h"
#include "common/model/model_spec.h"
#include "common/weights/checkpoint.h"
#include "common/weights/manifest.h"
#include "common/wire/model_identity_wire.h"
#include "services/expert_shard/expert_shard_config.h"
#include "services/expert_shard/experts/expert_store.h"

namespace tessera::expert_shard {

// `compute` belongs to the compute thread once that runs.
class ShardModel {
 public:
  // Reads the units of the config's slice and nothing else of the weights, checks that the
  // checkpoint is still whole, and computes a call whose answer is known. Logs how far it is.
  // Errors: those of reading and packing; kFailedPrecondition for a CPU without the instruction
  // set; kResourceExhausted if the units do not fit, with the arithmetic; kInternal if the known
  // answer comes out wrong.
  static absl::StatusOr<std::unique_ptr<ShardModel>> Load(const ExpertShardConfig& config,
                                                          const Clock& clock);

  const ModelSpec& spec() const { return spec_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const kernels::Compute& compute() const { return *compute_; }
  ExpertStore& store() { return *store_; }
  const wire::ModelIdentity& identity() const { return identity_; }

 private:
  ShardModel() = default;
  absl::Status ChooseCompute(const ComputeConfig& config);
  absl::Status ReadCheckpoint(const std::string& directory);
  // Bytes of the largest unit as it will be held; 0 if it stays in the map.
  size_t UnitBytes(const ExpertStoreConfig& config) const;
  absl::StatusOr<size_t> ChooseSpareSlots(const ExpertShardConfig& config,
                                          const ExpertStoreConfig& store) const;
  absl::Status LoadStore(const ExpertShardConfig& config, const Clock& clock);

  ModelSpec spec_;  // constant after Load
  std::unique_ptr<const Checkpoint> checkpoint_;
  std::unique_ptr<ModelManifest> manifest_;
  wire::ModelIdentity identity_;
  uint64_t identity_number_ = 0;

  std::unique_ptr<ThreadPool> pool_;
  kernels::Scratch scratch_;
  std::unique_ptr<kernels::Compute> compute_;
  std::unique_ptr<ExpertStore> store_;
};

}  // namespace tessera::expert_shard
