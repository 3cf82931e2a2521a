#pragma once

// Where each weight of a model lies in the one flat array that holds them all, and again in the
// arrays of equal size that hold gradients and the optimizer's state.

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/model_spec.h"

namespace tessera::trainer {

enum class ParameterKind {
  kEmbedding,  // [vocab, d_model]
  kHead,       // [vocab, d_model]
  kNorm,       // a vector
  kRouter,     // router.gate [experts, d_model]
  kAttention,  // q, k, v, o
  kAttentionGate,
  kDense,   // gate, up, down of a dense layer
  kShared,  // of the shared expert
  kExpert,  // of the routed experts
};

// `count` matrices of [rows, cols], row-major, [out, in], `stride` numbers from one to the next. A
// vector is one row.
struct Parameter {
  std::string name;  // of the checkpoint's tensor; of many experts: "{}" stands for the number
  ParameterKind kind;
  size_t rows = 0;
  size_t cols = 0;
  size_t count = 1;
  size_t stride = 0;  // of `count`
  size_t offset = 0;  // in the flat array

  // Trained by Muon rather than by AdamW.
  bool is_hidden_matrix() const { return kind >= ParameterKind::kAttention; }
  size_t size() const { return rows * cols; }  // of one matrix
};

// A matrix that products read: several parameters one below the other where inputs are the same.
struct Linear {
  size_t out = 0;
  size_t in = 0;
  size_t offset = 0;       // of the rows, in the flat array
  size_t count = 1;        // experts: that many, one after the other
  size_t packed = 0;       // of its panels W^T, in the packed array; experts have none there
  size_t packed_back = 0;  // of its panels W, for the way back
};

struct LayerParameters {
  size_t input_norm = 0, post_attention_norm = 0, pre_mlp_norm = 0, post_mlp_norm = 0;  // offsets
  size_t query_norm = 0, key_norm = 0;
  Linear qkvg;             // query, key, value, gate
  Linear output;           // attention's
  Linear gate_up, down;    // dense layer: its MLP; MoE layer: the shared expert, out = 0 if none
  Linear router;           // MoE layer
  Linear experts_gate_up;  // per expert [2 * width, d_model], gate first
  Linear experts_down;     // per expert [d_model, width]
};

struct ParameterLayout {
  ModelSpec spec;
  std::vector<Parameter> parameters;
  std::vector<Linear> linears;  // all that are packed
  size_t embeddings = 0;        // offset
  Linear head;
  size_t final_norm = 0;
  std::vector<LayerParameters> layers;
  size_t size = 0;         // of the flat array
  size_t packed_size = 0;  // of the packed array

  // kInvalidArgument for what is not trained: tied embeddings.
  static absl::StatusOr<ParameterLayout> Of(const ModelSpec& spec);
};

}  // namespace tessera::trainer
