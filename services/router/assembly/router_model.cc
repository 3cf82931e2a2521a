#include "services/router/assembly/router_model.h"

#include "absl/strings/str_cat.h"
#include "common/base/in_range.h"
#include "common/base/status.h"
#include "common/kernels/compute_level.h"
#include "common/model/model_config.h"

namespace tessera::router {

using kernels::Arithmetic;

absl::StatusOr<bool> ParseMapped(const std::string& name) {
  if (name == "packed") return false;
  if (name == "mapped") return true;
  return absl::InvalidArgumentError(
      absl::StrCat("weights '", name, "' is unknown; use packed or mapped"));
}

absl::StatusOr<std::unique_ptr<RouterModel>> RouterModel::Open(const std::string& model_dir,
                                                               const ComputeConfig& config) {
  std::unique_ptr<RouterModel> model(new RouterModel);
  TESSERA_RETURN_IF_ERROR(model->ChooseCompute(config));
  TESSERA_RETURN_IF_ERROR(model->ReadCheckpoint(model_dir));
  return model;
}

absl::Status RouterModel::ChooseCompute(const ComputeConfig& config) {
  TESSERA_RETURN_IF_ERROR(InRange("threads", static_cast<double>(config.threads), 0, 4096));
  TESSERA_ASSIGN_OR_RETURN(kernel_choice_, kernels::ChooseKernels(config.isa));
  TESSERA_ASSIGN_OR_RETURN(const Arithmetic arithmetic, kernels::ParseArithmetic(config.precision));
  TESSERA_ASSIGN_OR_RETURN(dense_dtype_, kernels::ParseWeightChoice(config.dense_dtype));
  TESSERA_ASSIGN_OR_RETURN(mapped_, ParseMapped(config.weights));
  pool_ = std::make_unique<ThreadPool>(ThreadPoolConfig{.thread_count = config.threads});
  compute_.reset(new kernels::Compute{.pool = *pool_,
                                      .features = kernel_choice_.features,
                                      .isa = kernel_choice_.isa,
                                      .arithmetic = arithmetic,
                                      .scratch = &scratch_});
  return absl::OkStatus();
}

absl::Status RouterModel::ReadCheckpoint(const std::string& model_dir) {
  TESSERA_ASSIGN_OR_RETURN(spec_, ReadModelSpec(model_dir));
  TESSERA_ASSIGN_OR_RETURN(token_count_, ReadTokenCount(model_dir, spec_.vocab));
  TESSERA_ASSIGN_OR_RETURN(checkpoint_, Checkpoint::Open(model_dir));
  TESSERA_ASSIGN_OR_RETURN(ModelManifest manifest, ModelManifest::Resolve(spec_, *checkpoint_));
  manifest_ = std::make_unique<ModelManifest>(std::move(manifest));
  return absl::OkStatus();
}

absl::Status RouterModel::PlanWeights(LoadPlan& plan) {
  TESSERA_ASSIGN_OR_RETURN(
      weights_,
      ModelWeights::Plan(
          spec_, *checkpoint_, *manifest_,
          {.dtype = dense_dtype_, .arithmetic = compute_->arithmetic, .mapped = mapped_}, plan));
  return absl::OkStatus();
}

absl::Status RouterModel::Load(const LoadProgress& progress) {
  LoadPlan plan;
  TESSERA_RETURN_IF_ERROR(PlanWeights(plan));
  TESSERA_RETURN_IF_ERROR(plan.Run(*pool_, progress));
  return checkpoint_->Verify();
}

size_t RouterModel::PackedBytes() const {
  return ModelWeights::PackedBytes(spec_, *manifest_, dense_dtype_, compute_->arithmetic);
}

kernels::KvType RouterModel::kv_type() const {
  return compute_->arithmetic == Arithmetic::kFloat32 ? kernels::KvType::kF32
                                                      : kernels::KvType::kBF16;
}

}  // namespace tessera::router
