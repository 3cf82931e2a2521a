#include "services/trainer/backward/parameters.h"

#include "absl/strings/str_cat.h"
#include "services/trainer/backward/gemm.h"

namespace tessera::trainer {
namespace {

constexpr size_t kAlignment = 16;  // numbers; 64 bytes of float32

class LayoutBuilder {
 public:
  explicit LayoutBuilder(ParameterLayout& layout) : layout_(layout) {}

  size_t AddVector(const std::string& name, size_t size) {
    return Add({.name = name, .kind = ParameterKind::kNorm, .rows = 1, .cols = size});
  }
  size_t AddMatrix(const std::string& name, ParameterKind kind, size_t rows, size_t cols) {
    return Add({.name = name + ".weight", .kind = kind, .rows = rows, .cols = cols});
  }
  // Experts lie `stride` apart; the caller advances with Skip.
  void AddExperts(const std::string& name, size_t rows, size_t cols, size_t offset, size_t stride) {
    layout_.parameters.push_back({.name = name + ".weight",
                                  .kind = ParameterKind::kExpert,
                                  .rows = rows,
                                  .cols = cols,
                                  .count = layout_.spec.expert_count,
                                  .stride = stride,
                                  .offset = offset});
  }
  size_t Skip(size_t size) {
    const size_t offset = layout_.size;
    layout_.size += (size + kAlignment - 1) / kAlignment * kAlignment;
    return offset;
  }
  Linear AddLinear(size_t offset, size_t out, size_t in, size_t count = 1) {
    Linear linear = {.out = out, .in = in, .offset = offset, .count = count};
    linear.packed = layout_.packed_size;
    if (count == 1) layout_.packed_size += PanelSize(in, out);
    linear.packed_back = layout_.packed_size;
    if (count == 1) layout_.packed_size += PanelSize(out, in);
    layout_.linears.push_back(linear);
    return linear;
  }

 private:
  size_t Add(Parameter parameter) {
    // Unpadded between parameters that one product reads: their sizes keep the alignment in any
    // model one would train, and nothing breaks where they do not.
    parameter.stride = parameter.size();
    parameter.offset = layout_.size;
    layout_.size += parameter.size();
    layout_.parameters.push_back(parameter);
    return parameter.offset;
  }

  ParameterLayout& layout_;
};

// The three matrices of a network, gate and up one below the other.
void AddSwiGlu(LayoutBuilder& builder, const std::string& module, ParameterKind kind, size_t width,
               size_t d_model, Linear& gate_up, Linear& down) {
  const size_t gate = builder.AddMatrix(module + ".gate_proj", kind, width, d_model);
  builder.AddMatrix(module + ".up_proj", kind, width, d_model);
  gate_up = builder.AddLinear(gate, 2 * width, d_model);
  down = builder.AddLinear(builder.AddMatrix(module + ".down_proj", kind, d_model, width), d_model,
                           width);
}

void AddMoe(LayoutBuilder& builder, const ModelSpec& spec, const std::string& mlp,
            LayerParameters& layer) {
  const size_t d = spec.d_model, width = spec.expert_width, count = spec.expert_count;
  layer.router = builder.AddLinear(
      builder.AddMatrix(mlp + ".router.gate", ParameterKind::kRouter, count, d), count, d);
  if (spec.shared_expert_count > 0) {
    AddSwiGlu(builder, mlp + ".shared_experts", ParameterKind::kShared, spec.shared_width(), d,
              layer.gate_up, layer.down);
  }
  const std::string expert = mlp + ".experts.{}";
  const size_t gate_up = builder.Skip(count * 2 * width * d);
  builder.AddExperts(expert + ".gate_proj", width, d, gate_up, 2 * width * d);
  builder.AddExperts(expert + ".up_proj", width, d, gate_up + width * d, 2 * width * d);
  layer.experts_gate_up = builder.AddLinear(gate_up, 2 * width, d, count);
  const size_t down = builder.Skip(count * d * width);
  builder.AddExperts(expert + ".down_proj", d, width, down, d * width);
  layer.experts_down = builder.AddLinear(down, d, width, count);
}

LayerParameters AddLayer(LayoutBuilder& builder, const ModelSpec& spec, size_t index) {
  const std::string prefix = absl::StrCat("model.layers.", index, ".");
  const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp";
  const size_t d = spec.d_model;
  LayerParameters layer;
  layer.input_norm = builder.AddVector(prefix + "input_layernorm.weight", d);
  const size_t query =
      builder.AddMatrix(attention + "q_proj", ParameterKind::kAttention, spec.query_width(), d);
  builder.AddMatrix(attention + "k_proj", ParameterKind::kAttention, spec.kv_width(), d);
  builder.AddMatrix(attention + "v_proj", ParameterKind::kAttention, spec.kv_width(), d);
  builder.AddMatrix(attention + "gate_proj", ParameterKind::kAttentionGate, spec.query_width(), d);
  layer.qkvg = builder.AddLinear(query, 2 * (spec.query_width() + spec.kv_width()), d);
  layer.query_norm = builder.AddVector(attention + "q_norm.weight", spec.head_dim);
  layer.key_norm = builder.AddVector(attention + "k_norm.weight", spec.head_dim);
  layer.output = builder.AddLinear(
      builder.AddMatrix(attention + "o_proj", ParameterKind::kAttention, d, spec.query_width()), d,
      spec.query_width());
  layer.post_attention_norm = builder.AddVector(prefix + "post_attention_layernorm.weight", d);
  layer.pre_mlp_norm = builder.AddVector(prefix + "pre_mlp_layernorm.weight", d);
  layer.post_mlp_norm = builder.AddVector(prefix + "post_mlp_layernorm.weight", d);
  if (spec.is_dense(index)) {
    AddSwiGlu(builder, mlp, ParameterKind::kDense, spec.dense_width, d, layer.gate_up, layer.down);
  } else {
    AddMoe(builder, spec, mlp, layer);
  }
  return layer;
}

}  // namespace

absl::StatusOr<ParameterLayout> ParameterLayout::Of(const ModelSpec& spec) {
  if (spec.tied_embeddings) {
    return absl::InvalidArgumentError(
        "tie_word_embeddings: found true; expected false, tied embeddings are not trained");
  }
  ParameterLayout layout;
  layout.spec = spec;
  LayoutBuilder builder(layout);
  const size_t d = spec.d_model;
  layout.embeddings =
      builder.AddMatrix("model.embed_tokens", ParameterKind::kEmbedding, spec.vocab, d);
  for (size_t i = 0; i < spec.layer_count; ++i) {
    layout.layers.push_back(AddLayer(builder, spec, i));
  }
  layout.final_norm = builder.AddVector("model.norm.weight", d);
  layout.head = builder.AddLinear(builder.AddMatrix("lm_head", ParameterKind::kHead, spec.vocab, d),
                                  spec.vocab, d);
  return layout;
}

}  // namespace tessera::trainer
