#include "tests/support/tiny_model.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/check.h"
#include "common/base/random.h"

namespace tessera::testing {
namespace {

uint64_t HashName(std::string_view name) {  // FNV-1a
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// Mean 0, variance 1, at most 3.5: the sum of four uniform numbers.
float Normal(Random& random) {
  double sum = -2.0;
  for (int i = 0; i < 4; ++i) sum += random.Uniform();
  return static_cast<float>(sum * std::sqrt(3.0));
}

const char* Text(bool value) { return value ? "true" : "false"; }

std::string QuantizationText(const BlockQuantization& blocks) {
  std::vector<std::string> ignored;
  for (const std::string& module : blocks.ignored)
    ignored.push_back(absl::StrCat("\"", module, "\""));
  return absl::StrCat(
      R"({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": )",
      R"({"group_0": {"targets": ["Linear"], "weights": {"type": "float", "num_bits": 8, )",
      R"("strategy": "block", "symmetric": true, "dynamic": false, "block_structure": [)",
      blocks.block_rows, ", ", blocks.block_cols, "]}}}, \"ignore\": [",
      absl::StrJoin(ignored, ", "), "]}");
}

// Collects the tensors of one checkpoint.
class TensorList {
 public:
  TensorList(const ModelSpec& spec, const TinyModelOptions& options)
      : spec_(spec), options_(options) {
    TESSERA_CHECK(options.dtype != DType::kF8E4M3 || spec.quantization.has_value());
  }

  void AddVector(const std::string& name, size_t size) {
    Add(name, options_.vector_dtype, {size}, Weights(name, 1, size));
  }
  // A matrix that is never quantised.
  void AddPlain(const std::string& name, size_t rows, size_t cols) {
    Add(name, plain_dtype(), {rows, cols}, Weights(name, rows, cols));
  }
  void AddLinear(const std::string& module, size_t rows, size_t cols, bool quantized) {
    const std::string name = absl::StrCat(module, ".weight");
    if (!quantized || options_.dtype != DType::kF8E4M3) return AddPlain(name, rows, cols);
    AddQuantized(name, absl::StrCat(module, ".", options_.scale_suffix), {rows, cols},
                 Weights(name, rows, cols));
  }
  void AddSwiGlu(const std::string& module, size_t width) {
    AddLinear(absl::StrCat(module, ".gate_proj"), width, spec_.d_model, true);
    AddLinear(absl::StrCat(module, ".up_proj"), width, spec_.d_model, true);
    AddLinear(absl::StrCat(module, ".down_proj"), spec_.d_model, width, true);
  }
  void AddFusedExperts(const std::string& module) {
    const size_t width = spec_.expert_width, d = spec_.d_model, count = spec_.expert_count;
    std::vector<float> gate_up, down;
    const auto append = [&](std::vector<float>& to, const std::string& name, size_t rows,
                            size_t cols) {
      const std::vector<float> part = Weights(name, rows, cols);
      to.insert(to.end(), part.begin(), part.end());
    };
    for (size_t e = 0; e < count; ++e) {
      const std::string expert = absl::StrCat(module, ".", e);
      append(gate_up, absl::StrCat(expert, ".gate_proj.weight"), width, d);
      append(gate_up, absl::StrCat(expert, ".up_proj.weight"), width, d);
      append(down, absl::StrCat(expert, ".down_proj.weight"), d, width);
    }
    AddStack(absl::StrCat(module, ".gate_up_proj"), {count, 2 * width, d}, gate_up);
    AddStack(absl::StrCat(module, ".down_proj"), {count, d, width}, down);
  }

  std::vector<FileTensor> Take() { return std::move(tensors_); }

 private:
  DType plain_dtype() const {
    return options_.dtype == DType::kF8E4M3 ? DType::kBF16 : options_.dtype;
  }
  std::vector<float> Weights(const std::string& name, size_t rows, size_t cols) const {
    std::vector<float> values = TinyWeights(name, rows, cols, options_.seed);
    if (options_.round_to_bf16) {
      for (float& value : values) value = ToFloat(ToBF16(value));
    }
    return values;
  }
  void Add(const std::string& name, DType dtype, std::vector<uint64_t> shape,
           const std::vector<float>& values) {
    tensors_.push_back({name, dtype, std::move(shape), Encode(values, dtype)});
  }
  void AddStack(const std::string& name, std::vector<uint64_t> shape,
                const std::vector<float>& values) {
    if (options_.dtype != DType::kF8E4M3) return Add(name, plain_dtype(), shape, values);
    AddQuantized(name, absl::StrCat(name, "_", options_.scale_suffix), shape, values);
  }
  // Quantises each matrix [.., rows, cols] of `values` block by block; a block's largest number
  // becomes at most 448.
  void AddQuantized(const std::string& name, const std::string& scale_name,
                    std::vector<uint64_t> shape, std::vector<float> values) {
    const size_t block_rows = spec_.quantization->block_rows;
    const size_t block_cols = spec_.quantization->block_cols;
    const size_t rows = shape[shape.size() - 2], cols = shape.back();
    std::vector<uint64_t> scale_shape = shape;
    scale_shape[shape.size() - 2] = (rows + block_rows - 1) / block_rows;
    scale_shape.back() = (cols + block_cols - 1) / block_cols;
    std::string scales;
    for (size_t first = 0; first < values.size(); first += rows * cols) {
      for (size_t r = 0; r < rows; r += block_rows) {
        for (size_t c = 0; c < cols; c += block_cols) {
          scales += QuantizeBlock(&values[first + r * cols + c], std::min(block_rows, rows - r),
                                  std::min(block_cols, cols - c), cols);
        }
      }
    }
    Add(name, DType::kF8E4M3, std::move(shape), values);
    tensors_.push_back({scale_name, options_.scale_dtype, std::move(scale_shape), scales});
  }
  // Divides the block by its scale and returns the scale as stored.
  std::string QuantizeBlock(float* block, size_t rows, size_t cols, size_t stride) const {
    float largest = 0;
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < cols; ++c)
        largest = std::max(largest, std::fabs(block[r * stride + c]));
    }
    float scale = std::max(largest, 1e-6f) / 448.0f;
    std::string stored;
    if (options_.scale_dtype == DType::kF8E8M0) {
      const int exponent = static_cast<int>(std::ceil(std::log2(scale)));
      scale = std::ldexp(1.0f, exponent);
      stored.push_back(static_cast<char>(exponent + 127));
    } else {
      stored = Encode({&scale, 1}, options_.scale_dtype);
    }
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < cols; ++c) block[r * stride + c] /= scale;
    }
    return stored;
  }

  const ModelSpec& spec_;
  const TinyModelOptions& options_;
  std::vector<FileTensor> tensors_;
};

void AddLayer(const ModelSpec& spec, const TinyModelOptions& options, size_t index,
              TensorList& list) {
  const std::string layer = absl::StrCat("model.layers.", index);
  const std::string attention = absl::StrCat(layer, ".self_attn");
  const bool quantized = options.quantize_attention;
  list.AddLinear(attention + ".q_proj", spec.query_width(), spec.d_model, quantized);
  list.AddLinear(attention + ".k_proj", spec.kv_width(), spec.d_model, quantized);
  list.AddLinear(attention + ".v_proj", spec.kv_width(), spec.d_model, quantized);
  list.AddLinear(attention + ".o_proj", spec.d_model, spec.query_width(), quantized);
  list.AddLinear(attention + ".gate_proj", spec.query_width(), spec.d_model, quantized);
  list.AddVector(attention + ".q_norm.weight", spec.head_dim);
  list.AddVector(attention + ".k_norm.weight", spec.head_dim);
  for (const char* norm :
       {"input_layernorm", "post_attention_layernorm", "pre_mlp_layernorm", "post_mlp_layernorm"})
    list.AddVector(absl::StrCat(layer, ".", norm, ".weight"), spec.d_model);

  const std::string mlp = absl::StrCat(layer, ".mlp");
  if (spec.is_dense(index)) return list.AddSwiGlu(mlp, spec.dense_width);
  list.AddVector(mlp + ".expert_bias", spec.expert_count);
  list.AddPlain(mlp + ".router.gate.weight", spec.expert_count, spec.d_model);
  if (spec.shared_expert_count > 0) list.AddSwiGlu(mlp + ".shared_experts", spec.shared_width());
  if (options.fused_experts) return list.AddFusedExperts(mlp + ".experts");
  for (size_t e = 0; e < spec.expert_count; ++e)
    list.AddSwiGlu(absl::StrCat(mlp, ".experts.", e), spec.expert_width);
}

}  // namespace

ModelSpec TinySpec() {
  ModelSpec spec;
  spec.d_model = 48;
  spec.layer_count = 5;
  spec.dense_layer_count = 1;
  spec.query_heads = 4;
  spec.kv_heads = 2;
  spec.head_dim = 16;
  spec.dense_width = 80;
  spec.expert_width = 24;
  spec.expert_count = 8;
  spec.top_k = 2;
  spec.shared_expert_count = 1;
  spec.vocab = 96;
  spec.context_max = 1024;
  spec.sliding_window = 8;
  spec.route_scale = 2.448f;
  spec.embedding_scaled = true;
  for (size_t i = 0; i < spec.layer_count; ++i)
    spec.layer_kinds.push_back(i % 4 == 3 ? LayerKind::kFull : LayerKind::kSliding);
  spec.eos_token_ids = {3};
  spec.bos_token_id = 0;
  return spec;
}

std::string ConfigText(const ModelSpec& spec) {
  std::vector<std::string> kinds;
  for (const LayerKind kind : spec.layer_kinds)
    kinds.push_back(kind == LayerKind::kFull ? "\"full_attention\"" : "\"sliding_attention\"");
  std::string text = absl::StrCat(
      R"({"architectures": ["AfmoeForCausalLM"], "model_type": "afmoe", "hidden_act": "silu",)",
      R"( "score_func": "sigmoid", "n_group": 1, "topk_group": 1, "rope_scaling": null)");
  const auto add = [&text](std::string_view key, const auto& value) {
    absl::StrAppend(&text, ",\n \"", std::string(key), "\": ", value);
  };
  add("hidden_size", spec.d_model);
  add("num_hidden_layers", spec.layer_count);
  add("num_dense_layers", spec.dense_layer_count);
  add("num_attention_heads", spec.query_heads);
  add("num_key_value_heads", spec.kv_heads);
  add("head_dim", spec.head_dim);
  add("intermediate_size", spec.dense_width);
  add("moe_intermediate_size", spec.expert_width);
  add("num_experts", spec.expert_count);
  add("num_experts_per_tok", spec.top_k);
  add("num_shared_experts", spec.shared_expert_count);
  add("vocab_size", spec.vocab);
  add("max_position_embeddings", spec.context_max);
  if (spec.sliding_window > 0) add("sliding_window", spec.sliding_window);
  add("rope_theta", absl::StrFormat("%.17g", spec.rope_theta));
  add("rms_norm_eps", absl::StrFormat("%.9g", spec.norm_eps));
  add("route_scale", absl::StrFormat("%.9g", spec.route_scale));
  add("route_norm", Text(spec.route_normalize));
  add("mup_enabled", Text(spec.embedding_scaled));
  add("tie_word_embeddings", Text(spec.tied_embeddings));
  add("layer_types", absl::StrCat("[", absl::StrJoin(kinds, ", "), "]"));
  add("eos_token_id", absl::StrCat("[", absl::StrJoin(spec.eos_token_ids, ", "), "]"));
  if (spec.bos_token_id) add("bos_token_id", *spec.bos_token_id);
  if (spec.quantization) add("quantization_config", QuantizationText(*spec.quantization));
  return text + "}\n";
}

std::vector<float> TinyWeights(std::string_view name, size_t rows, size_t cols, uint64_t seed) {
  const std::string text(name);
  float mean = 0;
  float deviation = 1.0f / std::sqrt(static_cast<float>(cols));
  if (absl::StrContains(text, "norm.weight")) mean = 1.0f, deviation = 0.1f;
  if (absl::StrContains(text, "layernorm")) mean = 1.0f, deviation = 0.1f;
  if (absl::EndsWith(text, "expert_bias")) deviation = 0.1f;
  if (absl::StrContains(text, "embed_tokens")) deviation = 1.0f;
  Random random(MixBits(seed) ^ HashName(name));
  std::vector<float> values(rows * cols);
  for (float& value : values) value = mean + deviation * Normal(random);
  return values;
}

std::vector<FileTensor> TinyTensors(const ModelSpec& spec, const TinyModelOptions& options) {
  TensorList list(spec, options);
  list.AddPlain("model.embed_tokens.weight", spec.vocab, spec.d_model);
  for (size_t i = 0; i < spec.layer_count; ++i) AddLayer(spec, options, i, list);
  list.AddVector("model.norm.weight", spec.d_model);
  if (!spec.tied_embeddings) list.AddPlain("lm_head.weight", spec.vocab, spec.d_model);
  return list.Take();
}

void WriteTinyModel(const ModelSpec& spec, const TinyModelOptions& options,
                    const std::string& directory) {
  WriteFile(absl::StrCat(directory, "/config.json"), ConfigText(spec));
  WriteCheckpoint(directory, TinyTensors(spec, options), options.shard_count);
}

}  // namespace tessera::testing
