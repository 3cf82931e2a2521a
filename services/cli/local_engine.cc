#include "services/cli/local_engine.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"

namespace tessera::cli {
namespace {

constexpr size_t kShardsMax = 256;

double Gigabytes(size_t bytes) { return static_cast<double>(bytes) / 1e9; }

router::BlockCounts BlocksFor(const router::KvGeometry& geometry, const CapacityOptions& capacity) {
  if (capacity.kv_blocks.has_value()) return *capacity.kv_blocks;
  router::BlockCounts blocks =
      geometry.SequenceBlocks(capacity.context_max, capacity.prefill_chunk_max);
  if (capacity.sequence_count == 1) return blocks;  // alone it may have all
  // Beside others a sequence is admitted only if a share of the blocks stays free.
  const double admitted = 1 - router::SchedulerConfig{}.admission_reserve;
  const auto all = [&](size_t of_one) {
    return static_cast<size_t>(
        std::ceil(static_cast<double>(of_one * capacity.sequence_count) / admitted));
  };
  return {.full = all(blocks.full), .sliding = all(blocks.sliding)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalEngine>> LocalEngine::Create(
    const std::string& model_dir, const ComputeOptions& compute, const CapacityOptions& capacity,
    router::TokenSink& sink, const Clock& clock, const LoadProgress& progress,
    const ExpertHostFactory& start_shards) {
  if (compute.shards > kShardsMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--shards=", compute.shards, ": use a number from 1 to ", kShardsMax, ", or 0 for none"));
  }
  std::unique_ptr<LocalEngine> engine(new LocalEngine);
  TESSERA_ASSIGN_OR_RETURN(engine->model_,
                           router::RouterModel::Open(model_dir, {.threads = compute.threads,
                                                                 .isa = compute.isa,
                                                                 .precision = compute.precision,
                                                                 .dense_dtype = compute.dense_dtype,
                                                                 .weights = compute.weights}));
  const router::RouterModel& model = *engine->model_;
  const router::KvGeometry geometry = router::KvGeometry::Of(model.spec(), model.kv_type());
  const router::KvPlan kv{BlocksFor(geometry, capacity), capacity.context_max};
  TESSERA_RETURN_IF_ERROR(
      engine->CheckMemory(compute, geometry.BytesOf(kv.blocks), capacity.logits_rows_max));
  TESSERA_RETURN_IF_ERROR(engine->LoadWeights(compute, progress));
  TESSERA_ASSIGN_OR_RETURN(router::ExpertCalls* const calls,
                           engine->OpenExperts(model_dir, compute, clock, start_shards));
  const size_t units = expert_shard::AllUnits(model.spec()).size();
  engine->experts_ = std::make_unique<ObservedExperts>(
      *calls, units == 0 ? 0 : engine->expert_bytes_ / units, capacity.routing_observer);
  TESSERA_ASSIGN_OR_RETURN(
      engine->rooms_,
      router::RouterRooms::Create(
          *engine->model_,
          {.sequences_max = std::min(capacity.sequence_count, capacity.logits_rows_max),
           .waiting_max = std::max(router::SchedulerConfig{}.waiting_max, capacity.sequence_count),
           .batch_tokens_max = capacity.batch_tokens_max,
           .prefill_chunk_max = capacity.prefill_chunk_max,
           .logits_rows_max = capacity.logits_rows_max,
           .prefix_cache = capacity.prefix_cache},
          kv, {*engine->experts_, sink, clock, engine->registry_}));
  return engine;
}

absl::Status LocalEngine::CheckMemory(const ComputeOptions& options, size_t cache,
                                      size_t logits_rows_max) const {
  TESSERA_ASSIGN_OR_RETURN(const kernels::WeightChoice expert_dtype,
                           kernels::ParseWeightChoice(options.expert_dtype));
  if (model_->mapped()) {
    return absl::OkStatus();  // the page cache holds what fits and reads the rest again
  }
  TESSERA_ASSIGN_OR_RETURN(const MemoryBudget budget, ReadMemoryBudget());
  const size_t experts = expert_shard::ExpertStore::PackedBytes(spec(), model_->manifest(),
                                                                expert_dtype, compute().arithmetic);
  const size_t dense = model_->PackedBytes();
  const size_t workspace = router::WorkspaceBytes(spec(), logits_rows_max);
  const size_t needed = experts + dense + cache + workspace;
  if (needed <= budget.available_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrFormat("the model does not fit: %.2f GB of experts (%s) + %.2f GB of other weights "
                      "(%s) + %.2f GB of keys and values + "
                      "%.2f GB of workspace = %.2f GB, and %.2f GB are available; use a smaller "
                      "--expert_dtype or --dense_dtype "
                      "(q8, q4), a shorter context, or --weights=mapped",
                      Gigabytes(experts), options.expert_dtype, Gigabytes(dense),
                      options.dense_dtype, Gigabytes(cache), Gigabytes(workspace),
                      Gigabytes(needed), Gigabytes(budget.available_bytes)));
}

absl::Status LocalEngine::LoadWeights(const ComputeOptions& options, const LoadProgress& progress) {
  TESSERA_ASSIGN_OR_RETURN(const kernels::WeightChoice expert_dtype,
                           kernels::ParseWeightChoice(options.expert_dtype));
  const std::vector<expert_shard::ExpertUnit> units = expert_shard::AllUnits(spec());
  expert_bytes_ = expert_shard::ExpertStore::PackedBytes(spec(), model_->manifest(), expert_dtype,
                                                         compute().arithmetic);
  if (!units.empty()) {
    const auto& first = model_->manifest().expert(units[0].layer, units[0].expert);
    expert_type_ = kernels::ResolveWeightType(expert_dtype, first.gate.dtype, compute().arithmetic);
  }
  if (options.shards > 0) return model_->Load(progress);
  LoadPlan plan;
  TESSERA_RETURN_IF_ERROR(model_->PlanWeights(plan));
  TESSERA_ASSIGN_OR_RETURN(
      store_,
      expert_shard::ExpertStore::Plan(
          spec(), model_->checkpoint(), model_->manifest(), units,
          {.dtype = expert_dtype, .arithmetic = compute().arithmetic, .mapped = model_->mapped()},
          plan));
  TESSERA_RETURN_IF_ERROR(plan.Run(pool(), progress));
  return model_->checkpoint().Verify();
}

absl::StatusOr<router::ExpertCalls*> LocalEngine::OpenExperts(
    const std::string& model_dir, const ComputeOptions& options, const Clock& clock,
    const ExpertHostFactory& start_shards) {
  if (options.shards == 0) {
    local_ = std::make_unique<LocalExperts>(*store_, compute());
    return local_.get();
  }
  if (!start_shards) return absl::InvalidArgumentError("there are no shards here; use shards=0");
  TESSERA_ASSIGN_OR_RETURN(remote_, start_shards(model_dir, options, *model_, clock, registry_));
  return &remote_->calls();
}

std::vector<int> LocalEngine::shard_pids() const {
  return remote_ == nullptr ? std::vector<int>{} : remote_->pids();
}

}  // namespace tessera::cli
