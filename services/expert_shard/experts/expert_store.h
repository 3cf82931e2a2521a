#pragma once

// The routed experts a process holds, packed for its kernels.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/ids.h"
#include "common/concurrency/snapshot.h"
#include "common/kernels/swiglu.h"
#include "common/kernels/weight_choice.h"
#include "common/model/model_spec.h"
#include "common/weights/checkpoint.h"
#include "common/weights/load_plan.h"
#include "common/weights/manifest.h"
#include "services/expert_shard/experts/expert_table.h"
#include "services/expert_shard/experts/slot_memory.h"

namespace tessera::expert_shard {

struct ExpertStoreConfig {
  kernels::WeightChoice dtype = kernels::WeightChoice::kAuto;
  kernels::Arithmetic arithmetic =
      kernels::Arithmetic::kFast;  // decides what kAuto makes of F16 and FP8
  bool mapped =
      false;  // use BF16 and F32 rows straight from the checkpoint's map; dtype must then be kAuto
  size_t slots_spare = 0;       // slots beyond those of the units it begins with
  uint64_t model_identity = 0;  // ModelIdentity of the checkpoint; goes into weights_version
};

// A unit's tensors as the checkpoint stores them, one behind the other: gate, up, down, each
// followed by its block scales, if it has any.
std::vector<std::span<const std::byte>> StoredParts(const SwiGluTensors& tensors);

// Fills `bytes` with the stored parts of a unit, from elsewhere than the checkpoint: from a shard
// that would make the same version of it.
using UnitSource = std::function<absl::Status(const ExpertUnit& unit, uint64_t weights_version,
                                              std::span<std::byte> bytes)>;

// Thread-safe once loaded: who computes reads one table a batch, Load and Drop publish the next.
// Checkpoint and manifest must outlive it.
class ExpertStore {
 public:
  // Makes room for `units` and adds their packing to `plan`; the store is usable once that has run.
  // Unit i gets slot i. Other work may share the plan. What has been packed is given back to the
  // page cache. Errors: kInvalidArgument for a unit the model lacks or that stands twice, or
  // `mapped` with a dtype or a stored format that needs packing; kResourceExhausted (memory). The
  // work itself fails as WeightMatrix::Pack.
  static absl::StatusOr<std::unique_ptr<ExpertStore>> Plan(
      const ModelSpec& spec, const Checkpoint& checkpoint, const ModelManifest& manifest,
      std::span<const ExpertUnit> units, const ExpertStoreConfig& config, LoadPlan& plan);
  // Bytes all units of a model take when packed.
  static size_t PackedBytes(const ModelSpec& spec, const ModelManifest& manifest,
                            kernels::WeightChoice dtype, kernels::Arithmetic arithmetic);

  // What is held now. Never null.
  std::shared_ptr<const ExpertTable> Snapshot() const { return table_.Read(); }

  // Reads a unit from the checkpoint into a slot, by the calling thread, while others compute; it
  // is in the next Snapshot. Nothing happens if the slot holds this very unit. Returns the bytes
  // that were read.
  //   kNotFound           the model has no such unit
  //   kInvalidArgument    there is no such slot
  //   kResourceExhausted  the slot holds another unit; or calls under way still use what was
  //                       dropped, and no memory is left: a moment later there is
  //   kAlreadyExists      the unit is in another slot
  //   kDataLoss           the checkpoint is damaged; and errors of packing
  // Where the checkpoint fails, `other` is asked, if there is one and weights are packed.
  absl::StatusOr<size_t> Load(const ExpertUnit& unit, uint32_t slot, const UnitSource& other = {});
  // Lets a unit go; its memory follows when no table that is in use has it. False: the slot does
  // not hold it.
  bool Drop(const ExpertUnit& unit, uint32_t slot);

  // The network of one expert, null if it is not held; valid until the unit is dropped. For owners
  // that drop nothing.
  const kernels::SwiGluWeights* Find(LayerIndex layer, ExpertId expert) const;
  size_t unit_count() const { return Snapshot()->unit_count(); }
  size_t size_bytes() const { return Snapshot()->size_bytes(); }  // of packed or mapped weights
  kernels::WeightType weight_type() const {
    return weight_type_;
  }  // of the first unit; models mix none
  bool mapped() const { return config_.mapped; }
  size_t slots_spare() const { return config_.slots_spare; }  // the last ones: empty at the start
  const Checkpoint& checkpoint() const { return checkpoint_; }
  const ModelManifest& manifest() const { return manifest_; }

 private:
  ExpertStore(const ModelSpec& spec, const Checkpoint& checkpoint, const ModelManifest& manifest,
              const ExpertStoreConfig& config, std::shared_ptr<const ExpertTable> empty)
      : spec_(spec),
        checkpoint_(checkpoint),
        manifest_(manifest),
        config_(config),
        table_(std::move(empty)) {}

  absl::Status CheckUnit(const ExpertUnit& unit) const;
  kernels::WeightType TypeOf(const ExpertUnit& unit) const;
  size_t PackedUnitBytes(const ExpertUnit& unit) const;
  uint64_t VersionOf(const ExpertUnit& unit) const;
  absl::Status AllocateMemory(std::span<const ExpertUnit> units);
  // With its memory, without its weights.
  absl::StatusOr<std::shared_ptr<HeldExpert>> MakeRoom(const ExpertUnit& unit, uint32_t slot);
  absl::Status FillIn(HeldExpert& expert) const;
  absl::Status Pack(const SwiGluTensors& tensors, HeldExpert& expert) const;
  absl::Status FillFrom(const UnitSource& source, HeldExpert& expert) const;

  const ModelSpec spec_;  // constant after Plan
  const Checkpoint& checkpoint_;
  const ModelManifest& manifest_;
  const ExpertStoreConfig config_;
  std::shared_ptr<SlotMemory> memory_;  // null if mapped
  kernels::WeightType weight_type_ = kernels::WeightType::kBF16;

  tessera::Snapshot<ExpertTable> table_;
  absl::Mutex changing_;  // held by who makes the next table
};

}  // namespace tessera::expert_shard
