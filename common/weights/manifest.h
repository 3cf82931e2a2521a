#pragma once

// Which tensor of a checkpoint plays which role in the model, checked for dtype and shape once.
//
//   ModelSpec + Checkpoint --ModelManifest::Resolve--> router(): all but the routed experts
//                                                      expert(layer, id): one routed expert
//
// Names as released checkpoints have them ("model.layers.3.mlp.experts.7.up_proj.weight"); routed
// experts may also be stored fused, per layer: "mlp.experts.gate_up_proj" [experts, 2 * width,
// d_model], gate rows first, and "mlp.experts.down_proj" [experts, d_model, width]. A linear weight
// may be F8_E4M3 with block scales beside it ("<module>.weight_scale" or "weight_scale_inv").

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/model/model_spec.h"
#include "common/tensor/tensor_view.h"
#include "common/weights/checkpoint.h"

namespace tessera {

// down(silu(gate x) * (up x)). A network of width 0 has no tensors.
struct SwiGluTensors {
  TensorView gate;  // [width, d_model]
  TensorView up;    // [width, d_model]
  TensorView down;  // [d_model, width]
  bool empty() const { return gate.data == nullptr; }
};

struct AttentionTensors {
  TensorView query;       // [query_width, d_model]
  TensorView key;         // [kv_width, d_model]
  TensorView value;       // [kv_width, d_model]
  TensorView gate;        // [query_width, d_model]
  TensorView output;      // [d_model, query_width]
  TensorView query_norm;  // [head_dim]; vectors are F32, F16 or BF16 (see ReadVector)
  TensorView key_norm;    // [head_dim]
};

struct LayerTensors {
  TensorView input_norm;           // [d_model], like the three below
  TensorView post_attention_norm;  // input_layernorm, post_attention_layernorm,
  TensorView pre_mlp_norm;         // pre_mlp_layernorm,
  TensorView post_mlp_norm;        // post_mlp_layernorm
  AttentionTensors attention;
  SwiGluTensors mlp;       // dense layer: its MLP; MoE layer: the shared experts as one network,
                           // empty if the model has none
  TensorView gate;         // MoE layer: router.gate [expert_count, d_model]; else no data
  TensorView expert_bias;  // MoE layer: [expert_count]; else no data
};

// Everything a router holds.
struct RouterTensors {
  TensorView embeddings;             // [vocab, d_model]
  TensorView head;                   // [vocab, d_model]; tied: the embeddings
  TensorView final_norm;             // [d_model]
  std::vector<LayerTensors> layers;  // [layer_count]
};

enum class TensorRole : uint8_t {
  kEmbeddings,  // with a tied head: that too
  kHead,
  kNorms,
  kAttention,
  kDenseMlp,
  kGate,  // router gates and expert biases
  kSharedExperts,
  kRoutedExperts,
};
constexpr size_t kTensorRoleCount = 8;
std::string_view NameOf(TensorRole role);  // "embeddings", "head", "norms", "attention", ...

// What the tensors of one role and dtype take; scales count under their own dtype.
struct RoleTotal {
  TensorRole role;
  DType dtype;
  uint64_t tensor_count = 0;
  uint64_t element_count = 0;
  uint64_t size_bytes = 0;
};

// Immutable, so thread-safe. Its views point into the checkpoint, which must outlive it.
class ModelManifest {
 public:
  // Reads names and shapes only, no weights (but a head stored beside tied embeddings is compared
  // with them). Errors: kInvalidArgument naming file, tensor, what was found and what `spec` asks
  // for: a tensor that is missing, that no model of this shape has, or whose dtype or shape is
  // wrong.
  static absl::StatusOr<ModelManifest> Resolve(const ModelSpec& spec, const Checkpoint& checkpoint);

  const RouterTensors& router() const { return router_; }
  // `layer` is a MoE layer of the model, counted over all layers.
  const SwiGluTensors& expert(LayerIndex layer, ExpertId expert) const;
  // Ascending by role, then dtype; pairs that do not occur are left out.
  std::span<const RoleTotal> totals() const { return totals_; }
  uint64_t size_bytes() const;  // sum over totals()

 private:
  friend class ManifestBuilder;
  RouterTensors router_;
  std::vector<SwiGluTensors> experts_;  // [moe layers, expert_count]
  size_t dense_layer_count_ = 0;
  size_t expert_count_ = 0;
  std::vector<RoleTotal> totals_;
};

// A norm's weights, or an expert bias, as float32. kDataLoss, naming file and tensor, if one of
// them is NaN or infinite. `view` is a vector of `checkpoint`.
absl::StatusOr<std::vector<float>> ReadVector(const Checkpoint& checkpoint, const TensorView& view);

}  // namespace tessera
