#include "services/expert_shard/shard_model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/device/host_memory.h"
#include "common/kernels/compute_level.h"
#include "common/kernels/kernel_choice.h"
#include "common/model/model_config.h"
#include "common/weights/model_identity.h"
#include "services/expert_shard/batching/self_check.h"

namespace tessera::expert_shard {
namespace {

// Frames, activations and code, beside the weights.
constexpr size_t kReserveBytes = size_t{256} << 20;

double Gigabytes(size_t bytes) { return static_cast<double>(bytes) / 1e9; }

// A line every tenth of the way, but not more than one a second.
LoadProgress LogProgress(const Clock& clock) {
  struct State {
    absl::Duration said_at;
    size_t tenths = 0;
  };
  return
      [&clock, state = std::make_shared<State>(State{clock.Elapsed()})](size_t done, size_t total) {
        const size_t tenths = total == 0 ? 10 : 10 * done / total;
        const absl::Duration now = clock.Elapsed();
        if (tenths <= state->tenths || (tenths < 10 && now - state->said_at < absl::Seconds(1)))
          return;
        *state = {now, tenths};
        TESSERA_LOG(INFO) << "experts loaded: "
                          << absl::StrFormat("%d %% of %.2f GB", 10 * tenths, Gigabytes(total));
      };
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShardModel>> ShardModel::Load(const ExpertShardConfig& config,
                                                             const Clock& clock) {
  std::unique_ptr<ShardModel> model(new ShardModel);
  TESSERA_RETURN_IF_ERROR(model->ChooseCompute(config.compute));
  TESSERA_RETURN_IF_ERROR(model->ReadCheckpoint(config.model));
  TESSERA_RETURN_IF_ERROR(model->LoadStore(config, clock));
  TESSERA_RETURN_IF_ERROR(SelfCheck(model->spec_, *model->store_, *model->compute_, clock));
  return model;
}

absl::Status ShardModel::ChooseCompute(const ComputeConfig& config) {
  TESSERA_ASSIGN_OR_RETURN(const kernels::KernelChoice choice, kernels::ChooseKernels(config.isa));
  TESSERA_LOG(INFO) << "kernels " << kernels::Describe(choice);
  TESSERA_ASSIGN_OR_RETURN(const kernels::Arithmetic arithmetic,
                           kernels::ParseArithmetic(config.precision));
  // Workers spin between the regions of a batch only: behind it the router wants the cores.
  pool_ = std::make_unique<ThreadPool>(ThreadPoolConfig{.thread_count = config.threads});
  compute_.reset(new kernels::Compute{.pool = *pool_,
                                      .features = choice.features,
                                      .isa = choice.isa,
                                      .arithmetic = arithmetic,
                                      .scratch = &scratch_});
  return absl::OkStatus();
}

absl::Status ShardModel::ReadCheckpoint(const std::string& directory) {
  TESSERA_ASSIGN_OR_RETURN(spec_, ReadModelSpec(directory));
  TESSERA_ASSIGN_OR_RETURN(checkpoint_, Checkpoint::Open(directory));
  TESSERA_ASSIGN_OR_RETURN(ModelManifest manifest, ModelManifest::Resolve(spec_, *checkpoint_));
  manifest_ = std::make_unique<ModelManifest>(std::move(manifest));
  TESSERA_ASSIGN_OR_RETURN(identity_number_, tessera::ModelIdentity(spec_, *checkpoint_));
  return absl::OkStatus();
}

size_t ShardModel::UnitBytes(const ExpertStoreConfig& config) const {
  const size_t units = spec_.moe_layer_count() * spec_.expert_count;
  if (config.mapped || units == 0) return 0;
  return ExpertStore::PackedBytes(spec_, *manifest_, config.dtype, config.arithmetic) / units;
}

absl::StatusOr<size_t> ShardModel::ChooseSpareSlots(const ExpertShardConfig& config,
                                                    const ExpertStoreConfig& store) const {
  const size_t base = BaseUnits(spec_, config.slice).size();
  const size_t unit_bytes = UnitBytes(store);
  size_t units_that_fit = spec_.moe_layer_count() * spec_.expert_count;
  if (unit_bytes > 0) {
    TESSERA_ASSIGN_OR_RETURN(const MemoryBudget budget, ReadMemoryBudget());
    const size_t needed = base * unit_bytes + kReserveBytes;
    if (needed > budget.available_bytes) {
      return absl::ResourceExhaustedError(absl::StrFormat(
          "the experts of this shard do not fit: %d units of %.1f MB + %.2f GB of workspace = "
          "%.2f GB, and %.2f GB are available; use more shards, a smaller compute.expert_dtype "
          "(q8, q4), or compute.weights=mapped",
          base, 1e3 * Gigabytes(unit_bytes), Gigabytes(kReserveBytes), Gigabytes(needed),
          Gigabytes(budget.available_bytes)));
    }
    units_that_fit = (budget.available_bytes - needed) / unit_bytes;
  }
  if (config.slots_spare >= 0) return static_cast<size_t>(config.slots_spare);
  return SpareSlots(spec_, config.slice, units_that_fit);
}

absl::Status ShardModel::LoadStore(const ExpertShardConfig& config, const Clock& clock) {
  ExpertStoreConfig store{.arithmetic = compute_->arithmetic,
                          .mapped = config.compute.weights == "mapped",
                          .model_identity = identity_number_};
  TESSERA_ASSIGN_OR_RETURN(store.dtype, kernels::ParseWeightChoice(config.compute.expert_dtype));
  TESSERA_ASSIGN_OR_RETURN(store.slots_spare, ChooseSpareSlots(config, store));
  const std::vector<ExpertUnit> units = BaseUnits(spec_, config.slice);
  TESSERA_LOG(INFO) << "shard " << config.slice.shard_id << " of " << config.slice.shard_count
                    << " loads " << units.size() << " experts of " << config.model << " and has "
                    << store.slots_spare << " slots more";
  const absl::Duration start = clock.Elapsed();
  LoadPlan plan;
  TESSERA_ASSIGN_OR_RETURN(store_,
                           ExpertStore::Plan(spec_, *checkpoint_, *manifest_, units, store, plan));
  TESSERA_RETURN_IF_ERROR(plan.Run(*pool_, LogProgress(clock)));
  TESSERA_RETURN_IF_ERROR(checkpoint_->Verify());
  if (!store.mapped) checkpoint_->ReleaseAll();
  const kernels::WeightType type = store_->weight_type();
  TESSERA_LOG(INFO) << "shard " << config.slice.shard_id << " holds " << units.size()
                    << " experts as " << kernels::NameOf(type) << ", "
                    << absl::StrFormat("%.2f GB", Gigabytes(store_->size_bytes())) << ", after "
                    << absl::FormatDuration(clock.Elapsed() - start);
  identity_ = {
      .model_hash = wire::HashText(identity_number_),
      .d_model = static_cast<uint32_t>(spec_.d_model),
      .layer_count = static_cast<uint32_t>(spec_.layer_count),
      .expert_count = static_cast<uint32_t>(spec_.expert_count),
      .expert_width = static_cast<uint32_t>(spec_.expert_width),
      .top_k = static_cast<uint32_t>(spec_.top_k),
      .expert_dtype = std::string(kernels::NameOf(type)),
      .kernel_level = kernels::LevelName(compute_->isa, compute_->features, compute_->arithmetic)};
  return absl::OkStatus();
}

}  // namespace tessera::expert_shard
