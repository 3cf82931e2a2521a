#pragma once

// The routed experts a process holds, packed for its kernels.

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/kernels/swiglu.h"
#include "common/kernels/weight_choice.h"
#include "common/model/model_spec.h"
#include "common/weights/checkpoint.h"
#include "common/weights/load_plan.h"
#include "common/weights/manifest.h"

namespace tessera::expert_shard {

// The unit of placement.
struct ExpertUnit {
  LayerIndex layer{};
  ExpertId expert{};
};

// Every unit of a model, layer by layer: what a single shard holds.
std::vector<ExpertUnit> AllUnits(const ModelSpec& spec);

struct ExpertStoreConfig {
  kernels::WeightChoice dtype = kernels::WeightChoice::kAuto;
  kernels::Arithmetic arithmetic =
      kernels::Arithmetic::kFast;  // decides what kAuto makes of F16 and FP8
  bool mapped =
      false;  // use BF16 and F32 rows straight from the checkpoint's map; dtype must then be kAuto
};

// Immutable after Load, so thread-safe. With `mapped` the checkpoint must outlive it.
class ExpertStore {
 public:
  // Allocates room for `units` and adds their packing to `plan`; the store is usable once that has
  // run. Other work may share the plan, which borrows checkpoint and manifest. What has been packed
  // is given back to the page cache. Errors: kInvalidArgument for a unit the model lacks, or
  // `mapped` with a dtype or a stored format that needs packing; kResourceExhausted (memory). The
  // work itself fails as WeightMatrix::Pack.
  static absl::StatusOr<std::unique_ptr<ExpertStore>> Plan(
      const ModelSpec& spec, const Checkpoint& checkpoint, const ModelManifest& manifest,
      std::span<const ExpertUnit> units, const ExpertStoreConfig& config, LoadPlan& plan);
  // Bytes all units of a model take when packed.
  static size_t PackedBytes(const ModelSpec& spec, const ModelManifest& manifest,
                            kernels::WeightChoice dtype, kernels::Arithmetic arithmetic);

  // The network of one expert; null if this store does not hold it.
  const kernels::SwiGluWeights* Find(LayerIndex layer, ExpertId expert) const;
  size_t unit_count() const { return unit_count_; }
  size_t size_bytes() const { return size_bytes_; }  // of packed or mapped weights
  kernels::WeightType weight_type() const {
    return weight_type_;
  }  // of the last unit; models mix none

 private:
  struct Layer {
    AlignedBuffer bytes;                           // the packed weights of all units of the layer
    std::vector<kernels::SwiGluWeights> networks;  // [expert_count]; empty where not held
  };
  ExpertStore() = default;
  absl::Status PlanPacked(const ModelSpec& spec, const Checkpoint& checkpoint,
                          const ModelManifest& manifest, std::span<const ExpertUnit> units,
                          const ExpertStoreConfig& config, LoadPlan& plan);
  absl::Status BorrowMapped(const ModelManifest& manifest, std::span<const ExpertUnit> units);

  std::vector<Layer> layers_;  // [layer_count]
  size_t unit_count_ = 0;
  size_t size_bytes_ = 0;
  kernels::WeightType weight_type_ = kernels::WeightType::kBF16;
};

}  // namespace tessera::expert_shard
