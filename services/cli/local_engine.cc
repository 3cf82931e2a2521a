#include "services/cli/local_engine.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status.h"
#include "common/device/cpu_features.h"
#include "common/model/model_config.h"

namespace tessera::cli {
namespace {

using kernels::Arithmetic;

// Activations, logits and code, beside weights and cache.
constexpr size_t kWorkspaceBytes = size_t{1} << 30;

absl::StatusOr<Arithmetic> ParsePrecision(const std::string& name) {
  if (name == "float32") return Arithmetic::kFloat32;
  if (name == "fast") return Arithmetic::kFast;
  return absl::InvalidArgumentError(
      absl::StrCat("precision '", name, "' is unknown; use float32 or fast"));
}

absl::StatusOr<bool> ParseMapped(const std::string& name) {
  if (name == "packed") return false;
  if (name == "mapped") return true;
  return absl::InvalidArgumentError(
      absl::StrCat("weights '", name, "' is unknown; use packed or mapped"));
}

double Gigabytes(size_t bytes) { return static_cast<double>(bytes) / 1e9; }

}  // namespace

absl::StatusOr<std::unique_ptr<LocalEngine>> LocalEngine::Create(
    const std::string& model_dir, const ComputeOptions& compute, const CapacityOptions& capacity,
    router::TokenSink& sink, const Clock& clock, const LoadProgress& progress) {
  std::unique_ptr<LocalEngine> engine(new LocalEngine);
  TESSERA_RETURN_IF_ERROR(engine->ChooseCompute(compute));
  TESSERA_RETURN_IF_ERROR(engine->ReadCheckpoint(model_dir));
  TESSERA_RETURN_IF_ERROR(engine->CreateKv(capacity));
  TESSERA_RETURN_IF_ERROR(engine->CheckMemory(compute));
  TESSERA_RETURN_IF_ERROR(engine->LoadWeights(compute, progress));
  TESSERA_RETURN_IF_ERROR(engine->BuildRooms(capacity, sink, clock));
  return engine;
}

absl::Status LocalEngine::ChooseCompute(const ComputeOptions& options) {
  const CpuFeatures features = DetectCpuFeatures();
  TESSERA_ASSIGN_OR_RETURN(const kernels::Isa isa, kernels::ChooseIsa(options.isa, features));
  TESSERA_ASSIGN_OR_RETURN(const Arithmetic arithmetic, ParsePrecision(options.precision));
  pool_ = std::make_unique<ThreadPool>(ThreadPoolConfig{.thread_count = options.threads});
  compute_.reset(new kernels::Compute{.pool = *pool_,
                                      .features = features,
                                      .isa = isa,
                                      .arithmetic = arithmetic,
                                      .scratch = &scratch_});
  return absl::OkStatus();
}

absl::Status LocalEngine::ReadCheckpoint(const std::string& model_dir) {
  TESSERA_ASSIGN_OR_RETURN(spec_, ReadModelSpec(model_dir));
  TESSERA_ASSIGN_OR_RETURN(checkpoint_, Checkpoint::Open(model_dir));
  TESSERA_ASSIGN_OR_RETURN(ModelManifest manifest, ModelManifest::Resolve(spec_, *checkpoint_));
  manifest_ = std::make_unique<ModelManifest>(std::move(manifest));
  return absl::OkStatus();
}

absl::Status LocalEngine::CreateKv(const CapacityOptions& capacity) {
  const kernels::KvType type =
      compute_->arithmetic == Arithmetic::kFloat32 ? kernels::KvType::kF32 : kernels::KvType::kBF16;
  router::BlockCounts blocks;
  if (capacity.kv_blocks.has_value()) {
    blocks = *capacity.kv_blocks;
  } else {
    const router::KvGeometry geometry = router::KvGeometry::Of(spec_, type);
    blocks = geometry.SequenceBlocks(capacity.context_max, capacity.prefill_chunk_max);
    blocks.full *= capacity.sequence_count;
    blocks.sliding *= capacity.sequence_count;
  }
  TESSERA_ASSIGN_OR_RETURN(
      kv_, router::KvCache::Create(
               spec_, {.type = type, .blocks = blocks, .prefix_cache = capacity.prefix_cache}));
  return absl::OkStatus();
}

absl::Status LocalEngine::CheckMemory(const ComputeOptions& options) const {
  TESSERA_ASSIGN_OR_RETURN(const kernels::WeightChoice expert_dtype,
                           kernels::ParseWeightChoice(options.expert_dtype));
  TESSERA_ASSIGN_OR_RETURN(const kernels::WeightChoice dense_dtype,
                           kernels::ParseWeightChoice(options.dense_dtype));
  TESSERA_ASSIGN_OR_RETURN(const bool mapped, ParseMapped(options.weights));
  if (mapped) return absl::OkStatus();  // the page cache holds what fits and reads the rest again
  TESSERA_ASSIGN_OR_RETURN(const MemoryBudget budget, ReadMemoryBudget());
  const size_t experts =
      expert_shard::ExpertStore::PackedBytes(spec_, *manifest_, expert_dtype, compute_->arithmetic);
  const size_t dense =
      router::ModelWeights::PackedBytes(spec_, *manifest_, dense_dtype, compute_->arithmetic);
  const size_t cache = kv_->stats().total_bytes;
  const size_t needed = experts + dense + cache + kWorkspaceBytes;
  if (needed <= budget.available_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrFormat("the model does not fit: %.2f GB of experts (%s) + %.2f GB of other weights "
                      "(%s) + %.2f GB of keys and values + "
                      "%.2f GB of workspace = %.2f GB, and %.2f GB are available; use a smaller "
                      "--expert_dtype or --dense_dtype "
                      "(q8, q4), a shorter context, or --weights=mapped",
                      Gigabytes(experts), options.expert_dtype, Gigabytes(dense),
                      options.dense_dtype, Gigabytes(cache), Gigabytes(kWorkspaceBytes),
                      Gigabytes(needed), Gigabytes(budget.available_bytes)));
}

absl::Status LocalEngine::LoadWeights(const ComputeOptions& options, const LoadProgress& progress) {
  TESSERA_ASSIGN_OR_RETURN(const kernels::WeightChoice expert_dtype,
                           kernels::ParseWeightChoice(options.expert_dtype));
  TESSERA_ASSIGN_OR_RETURN(const kernels::WeightChoice dense_dtype,
                           kernels::ParseWeightChoice(options.dense_dtype));
  TESSERA_ASSIGN_OR_RETURN(const bool mapped, ParseMapped(options.weights));
  LoadPlan plan;
  TESSERA_ASSIGN_OR_RETURN(
      weights_,
      router::ModelWeights::Plan(
          spec_, *checkpoint_, *manifest_,
          {.dtype = dense_dtype, .arithmetic = compute_->arithmetic, .mapped = mapped}, plan));
  const std::vector<expert_shard::ExpertUnit> units = expert_shard::AllUnits(spec_);
  TESSERA_ASSIGN_OR_RETURN(
      store_,
      expert_shard::ExpertStore::Plan(
          spec_, *checkpoint_, *manifest_, units,
          {.dtype = expert_dtype, .arithmetic = compute_->arithmetic, .mapped = mapped}, plan));
  TESSERA_RETURN_IF_ERROR(plan.Run(*pool_, progress));
  return checkpoint_->Verify();
}

absl::Status LocalEngine::BuildRooms(const CapacityOptions& capacity, router::TokenSink& sink,
                                     const Clock& clock) {
  const router::SchedulerConfig config{
      .batch_tokens_max = capacity.batch_tokens_max,
      .prefill_chunk_max = capacity.prefill_chunk_max,
      .sequences_max = std::min(capacity.sequence_count, capacity.logits_rows_max),
      .logits_rows_max = capacity.logits_rows_max,
      .context_max = std::min(capacity.context_max, spec_.context_max),
      .vocab = spec_.vocab,
      .eos_token_ids = spec_.eos_token_ids,
  };
  TESSERA_RETURN_IF_ERROR(config.Validate());
  scheduler_ = std::make_unique<router::Scheduler>(config, *kv_);
  sampler_ = std::make_unique<router::Sampler>(router::SamplerConfig{.vocab = spec_.vocab}, *pool_);
  model_ = std::make_unique<router::Model>(spec_, *weights_, *compute_, capacity.batch_tokens_max);
  experts_ = std::make_unique<LocalExperts>(*store_, *compute_, capacity.routing_observer);
  metrics_ = std::make_unique<router::EngineMetrics>(registry_);
  const router::EngineRooms rooms{*scheduler_, *kv_, *model_, *experts_,
                                  *sampler_,   sink, clock,   *metrics_};
  engine_ = std::make_unique<router::Engine>(
      router::EngineConfig{.batch_tokens_max = capacity.batch_tokens_max,
                           .logits_rows_max = capacity.logits_rows_max},
      rooms, [checkpoint = checkpoint_.get()] { return checkpoint->Verify(); });
  return absl::OkStatus();
}

}  // namespace tessera::cli
