#include "services/router/model/model_weights.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera::router {
namespace {

using kernels::SwiGluWeights;
using kernels::WeightChoice;
using kernels::WeightMatrix;
using kernels::WeightType;

// Names file and tensor (of a woven pair the first) if `made` is none.
absl::Status Take(absl::StatusOr<WeightMatrix> made, const Checkpoint& checkpoint,
                  const TensorView& tensor, WeightMatrix& matrix) {
  if (!made.ok()) return Annotate(made.status(), checkpoint.Whereabouts(tensor.data));
  matrix = *std::move(made);
  return absl::OkStatus();
}

// Fills matrices, now (mapped) or when the plan runs (packed).
class Filler {
 public:
  Filler(const Checkpoint& checkpoint, const ModelWeightsConfig& config, LoadPlan& plan)
      : checkpoint_(checkpoint), config_(config), plan_(plan) {}

  absl::Status Fill(const TensorView& tensor, std::vector<float>& values) {
    TESSERA_ASSIGN_OR_RETURN(values, ReadVector(checkpoint_, tensor));
    return absl::OkStatus();
  }

  absl::Status Fill(std::string name, const TensorView& tensor, WeightChoice dtype,
                    WeightMatrix& matrix) {
    if (config_.mapped) {
      return Take(WeightMatrix::Borrow(tensor), checkpoint_, tensor, matrix);
    }
    const WeightType type = ResolveWeightType(dtype, tensor.dtype, config_.arithmetic);
    plan_.Add(std::move(name), tensor.size_bytes(),
              [&checkpoint = checkpoint_, tensor, type, &matrix]() -> absl::Status {
                TESSERA_RETURN_IF_ERROR(
                    Take(WeightMatrix::Pack(tensor, type), checkpoint, tensor, matrix));
                checkpoint.Release(tensor);
                return absl::OkStatus();
              });
    return absl::OkStatus();
  }

  absl::Status Fill(const std::string& name, const SwiGluTensors& tensors, SwiGluWeights& network) {
    TESSERA_RETURN_IF_ERROR(Fill(name + ".down_proj", tensors.down, config_.dtype, network.down));
    if (config_.mapped) {
      TESSERA_RETURN_IF_ERROR(Fill(name + ".gate_proj", tensors.gate, config_.dtype, network.gate));
      return Fill(name + ".up_proj", tensors.up, config_.dtype, network.up);
    }
    const WeightType type =
        ResolveWeightType(config_.dtype, tensors.gate.dtype, config_.arithmetic);
    plan_.Add(name, tensors.gate.size_bytes() + tensors.up.size_bytes(),
              [&checkpoint = checkpoint_, tensors, type, &network]() -> absl::Status {
                auto packed = WeightMatrix::PackGateUp(tensors.gate, tensors.up, type);
                TESSERA_RETURN_IF_ERROR(
                    Take(std::move(packed), checkpoint, tensors.gate, network.gate_up));
                checkpoint.Release(tensors.gate);
                checkpoint.Release(tensors.up);
                return absl::OkStatus();
              });
    return absl::OkStatus();
  }

 private:
  const Checkpoint& checkpoint_;
  const ModelWeightsConfig& config_;
  LoadPlan& plan_;
};

absl::Status FillAttention(const std::string& name, const AttentionTensors& tensors,
                           WeightChoice dtype, Filler& filler, AttentionWeights& weights) {
  TESSERA_RETURN_IF_ERROR(filler.Fill(tensors.query_norm, weights.query_norm));
  TESSERA_RETURN_IF_ERROR(filler.Fill(tensors.key_norm, weights.key_norm));
  TESSERA_RETURN_IF_ERROR(filler.Fill(name + ".q_proj", tensors.query, dtype, weights.query));
  TESSERA_RETURN_IF_ERROR(filler.Fill(name + ".k_proj", tensors.key, dtype, weights.key));
  TESSERA_RETURN_IF_ERROR(filler.Fill(name + ".v_proj", tensors.value, dtype, weights.value));
  TESSERA_RETURN_IF_ERROR(filler.Fill(name + ".gate_proj", tensors.gate, dtype, weights.gate));
  return filler.Fill(name + ".o_proj", tensors.output, dtype, weights.output);
}

// The gate decides which experts run: it stays in its stored precision whatever the rest is
// converted to.
constexpr WeightChoice kGateChoice = WeightChoice::kAuto;

absl::Status FillLayer(const ModelSpec& spec, size_t index, const LayerTensors& tensors,
                       WeightChoice dtype, Filler& filler, LayerWeights& layer) {
  const std::string name = absl::StrCat("layer ", index);
  TESSERA_RETURN_IF_ERROR(filler.Fill(tensors.input_norm, layer.input_norm));
  TESSERA_RETURN_IF_ERROR(filler.Fill(tensors.post_attention_norm, layer.post_attention_norm));
  TESSERA_RETURN_IF_ERROR(filler.Fill(tensors.pre_mlp_norm, layer.pre_mlp_norm));
  TESSERA_RETURN_IF_ERROR(filler.Fill(tensors.post_mlp_norm, layer.post_mlp_norm));
  TESSERA_RETURN_IF_ERROR(
      FillAttention(name + " self_attn", tensors.attention, dtype, filler, layer.attention));
  if (spec.is_dense(index)) return filler.Fill(name + " mlp", tensors.mlp, layer.mlp);
  TESSERA_RETURN_IF_ERROR(filler.Fill(tensors.expert_bias, layer.expert_bias));
  TESSERA_RETURN_IF_ERROR(
      filler.Fill(name + " mlp.router.gate", tensors.gate, kGateChoice, layer.expert_gate));
  if (spec.shared_expert_count == 0) return absl::OkStatus();
  return filler.Fill(name + " mlp.shared_experts", tensors.mlp, layer.mlp);
}

size_t PackedBytesOf(const TensorView& tensor, WeightChoice dtype, kernels::Arithmetic arithmetic) {
  return WeightMatrix::PackedBytes(ResolveWeightType(dtype, tensor.dtype, arithmetic), tensor.rows,
                                   tensor.cols);
}

size_t BytesOf(const LayerWeights& layer) {
  const AttentionWeights& a = layer.attention;
  return a.query.size_bytes() + a.key.size_bytes() + a.value.size_bytes() + a.gate.size_bytes() +
         a.output.size_bytes() + layer.mlp.size_bytes() + layer.expert_gate.size_bytes();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelWeights>> ModelWeights::Plan(const ModelSpec& spec,
                                                                 const Checkpoint& checkpoint,
                                                                 const ModelManifest& manifest,
                                                                 const ModelWeightsConfig& config,
                                                                 LoadPlan& plan) {
  if (config.mapped && config.dtype != WeightChoice::kAuto) {
    return absl::InvalidArgumentError(
        "mapped weights are used as stored: --dense_dtype must be auto");
  }
  auto weights = std::make_unique<ModelWeights>();
  const RouterTensors& tensors = manifest.router();
  Filler filler(checkpoint, config, plan);
  weights->embedding = tensors.embeddings;
  TESSERA_RETURN_IF_ERROR(filler.Fill(tensors.final_norm, weights->final_norm));
  TESSERA_RETURN_IF_ERROR(filler.Fill("lm_head", tensors.head, config.dtype, weights->head));
  weights->layers.resize(spec.layer_count);
  for (size_t i = 0; i < spec.layer_count; ++i) {
    TESSERA_RETURN_IF_ERROR(
        FillLayer(spec, i, tensors.layers[i], config.dtype, filler, weights->layers[i]));
  }
  return weights;
}

size_t ModelWeights::PackedBytes(const ModelSpec& spec, const ModelManifest& manifest,
                                 WeightChoice dtype, kernels::Arithmetic arithmetic) {
  const RouterTensors& tensors = manifest.router();
  size_t bytes = tensors.embeddings.size_bytes() + PackedBytesOf(tensors.head, dtype, arithmetic);
  const auto add = [&](const TensorView& tensor, WeightChoice choice) {
    bytes += PackedBytesOf(tensor, choice, arithmetic);
  };
  const auto add_network = [&](const SwiGluTensors& network) {
    bytes +=
        WeightMatrix::PackedGateUpBytes(ResolveWeightType(dtype, network.gate.dtype, arithmetic),
                                        network.gate.rows, network.gate.cols);
    add(network.down, dtype);
  };
  for (size_t i = 0; i < spec.layer_count; ++i) {
    const LayerTensors& layer = tensors.layers[i];
    for (const TensorView* tensor :
         {&layer.attention.query, &layer.attention.key, &layer.attention.value,
          &layer.attention.gate, &layer.attention.output}) {
      add(*tensor, dtype);
    }
    if (spec.is_dense(i)) {
      add_network(layer.mlp);
      continue;
    }
    add(layer.gate, kGateChoice);
    if (spec.shared_expert_count > 0) add_network(layer.mlp);
  }
  return bytes;
}

size_t ModelWeights::size_bytes() const {
  size_t bytes = embedding.size_bytes() + head.size_bytes();
  for (const LayerWeights& layer : layers) bytes += BytesOf(layer);
  return bytes;
}

}  // namespace tessera::router
