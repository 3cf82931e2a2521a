#pragma once

// The shape of an AFMoE model as its config.json tells it: data, validated once, then trusted.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tessera {

enum class LayerKind : uint8_t {
  kSliding,  // sliding-window attention with rotary positions
  kFull,     // full causal attention without positional encoding
};

// How quantised linear weights are stored (config.json quantization_config); none: plain tensors.
struct BlockQuantization {
  size_t block_rows = 128;
  size_t block_cols = 128;
  std::vector<std::string> ignored;  // module names or "re:" patterns left unquantised;
                                     // informative: the tensors' dtypes decide
};

struct ModelSpec {
  size_t d_model = 0;
  size_t layer_count = 0;
  size_t dense_layer_count = 0;  // leading layers with a dense MLP
  size_t query_heads = 0;
  size_t kv_heads = 0;             // divides query_heads
  size_t head_dim = 0;             // even
  size_t dense_width = 0;          // intermediate_size
  size_t expert_width = 0;         // moe_intermediate_size
  size_t expert_count = 0;         // routed experts of a MoE layer
  size_t top_k = 0;                // experts a row visits
  size_t shared_expert_count = 0;  // their widths add up in one network
  size_t vocab = 0;                // rows of the output head
  size_t context_max = 0;          // max_position_embeddings
  size_t sliding_window = 0;       // keys visible to a sliding layer, the row's own included
  double rope_theta = 10000.0;
  float norm_eps = 1e-5f;
  float route_scale = 1.0f;
  bool route_normalize = true;
  bool embedding_scaled = false;       // mup_enabled: embeddings times sqrt(d_model)
  bool tied_embeddings = false;        // the head is the embedding matrix
  std::vector<LayerKind> layer_kinds;  // [layer_count]
  std::optional<BlockQuantization> quantization;
  std::vector<int32_t> eos_token_ids;  // config.json or generation_config.json; may be empty
  std::optional<int32_t> bos_token_id;

  bool is_dense(size_t layer) const { return layer < dense_layer_count; }
  size_t moe_layer_count() const { return layer_count - dense_layer_count; }
  size_t query_width() const { return query_heads * head_dim; }
  size_t kv_width() const { return kv_heads * head_dim; }
  size_t shared_width() const { return expert_width * shared_expert_count; }
};

// Numbers a model consists of, and how many of them one token meets (embedding row counted as the
// whole matrix, routed experts as top_k of expert_count), as model cards count them.
struct ParameterCounts {
  uint64_t total = 0;
  uint64_t active = 0;
};
ParameterCounts CountParameters(const ModelSpec& spec);

}  // namespace tessera
