#pragma once

// Everything a router holds of a checkpoint: all weights but the routed experts.

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/kernels/swiglu.h"
#include "common/kernels/weight_choice.h"
#include "common/kernels/weight_matrix.h"
#include "common/model/model_spec.h"
#include "common/tensor/tensor_view.h"
#include "common/weights/checkpoint.h"
#include "common/weights/load_plan.h"
#include "common/weights/manifest.h"

namespace tessera::router {

struct AttentionWeights {
  kernels::WeightMatrix query;    // [query_heads * head_dim, d_model]
  kernels::WeightMatrix key;      // [kv_heads * head_dim, d_model]
  kernels::WeightMatrix value;    // [kv_heads * head_dim, d_model]
  kernels::WeightMatrix gate;     // [query_heads * head_dim, d_model]: the output gate
  kernels::WeightMatrix output;   // [d_model, query_heads * head_dim]
  std::vector<float> query_norm;  // [head_dim]
  std::vector<float> key_norm;    // [head_dim]
};

struct LayerWeights {
  std::vector<float> input_norm;  // [d_model], as the three below
  std::vector<float> post_attention_norm;
  std::vector<float> pre_mlp_norm;
  std::vector<float> post_mlp_norm;
  AttentionWeights attention;
  kernels::SwiGluWeights
      mlp;  // dense layer: its MLP; MoE layer: the shared expert, empty if there is none
  kernels::WeightMatrix expert_gate;  // MoE layer: [expert_count, d_model]
  std::vector<float> expert_bias;     // MoE layer: [expert_count], moves the selection only
};

struct ModelWeightsConfig {
  kernels::WeightChoice dtype = kernels::WeightChoice::kAuto;
  kernels::Arithmetic arithmetic =
      kernels::Arithmetic::kFast;  // decides what kAuto makes of F16 and FP8
  bool mapped =
      false;  // use BF16 and F32 rows straight from the checkpoint's map; dtype must then be kAuto
};

// Immutable after loading. The embedding (and with `mapped` everything) stays in the checkpoint's
// map, which must outlive it.
struct ModelWeights {
  TensorView embedding;              // [vocab, d_model], as stored: a step reads one row a token
  std::vector<float> final_norm;     // [d_model]
  kernels::WeightMatrix head;        // [vocab, d_model]
  std::vector<LayerWeights> layers;  // [layer_count]

  size_t size_bytes() const;  // of packed or mapped matrices, the embedding's rows included

  // Reads the vectors and adds the packing of the matrices to `plan`; usable once that has run.
  // What has been packed is given back to the page cache. Errors: kInvalidArgument for `mapped`
  // with a dtype or a stored format that needs packing. The work itself fails as
  // WeightMatrix::Pack.
  static absl::StatusOr<std::unique_ptr<ModelWeights>> Plan(const ModelSpec& spec,
                                                            const Checkpoint& checkpoint,
                                                            const ModelManifest& manifest,
                                                            const ModelWeightsConfig& config,
                                                            LoadPlan& plan);
  // Bytes they take when packed.
  static size_t PackedBytes(const ModelSpec& spec, const ModelManifest& manifest,
                            kernels::WeightChoice dtype, kernels::Arithmetic arithmetic);
};

}  // namespace tessera::router
