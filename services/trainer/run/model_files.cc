#include "services/trainer/run/model_files.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/tensor/tensor_view.h"
#include "common/weights/checkpoint.h"
#include "services/trainer/run/tensor_file.h"

namespace tessera::trainer {
namespace {

constexpr size_t kBlock = 128;  // rows and columns under one scale
constexpr float kFp8Largest = 448;

template <typename T>
void Put(std::span<std::byte> bytes, size_t index, T value) {
  std::memcpy(bytes.data() + index * sizeof(T), &value, sizeof(T));
}

TensorToWrite Plain(const std::string& name, DType dtype, std::vector<uint64_t> shape,
                    std::span<const float> values) {
  const auto fill = [dtype, values](std::span<std::byte> bytes) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (dtype == DType::kF32) {
        Put(bytes, i, values[i]);
      } else {
        Put(bytes, i, ToBF16(values[i]));
      }
    }
  };
  return {name, dtype, std::move(shape), fill};
}

// A matrix in blocks, each divided by a scale that takes its largest number to 448.
struct Blocks {
  std::span<const float> values;
  size_t rows;
  size_t cols;

  size_t across() const { return (cols + kBlock - 1) / kBlock; }
  size_t count() const { return (rows + kBlock - 1) / kBlock * across(); }
  // Calls visit(index into values) for each number of a block.
  template <typename Visit>
  void ForEach(size_t block, Visit visit) const {
    const size_t row = block / across() * kBlock, col = block % across() * kBlock;
    for (size_t r = row; r < std::min(rows, row + kBlock); ++r) {
      for (size_t c = col; c < std::min(cols, col + kBlock); ++c) visit(r * cols + c);
    }
  }
  float Scale(size_t block) const {
    float largest = 0;
    ForEach(block, [&](size_t i) { largest = std::max(largest, std::fabs(values[i])); });
    return largest > 0 ? largest / kFp8Largest : 1.0f;
  }
};

void AddFp8(const std::string& name, const Blocks& blocks, std::vector<TensorToWrite>& tensors) {
  const auto fill = [blocks](std::span<std::byte> bytes) {
    for (size_t block = 0; block < blocks.count(); ++block) {
      const float scale = blocks.Scale(block);
      blocks.ForEach(block, [&](size_t i) { Put(bytes, i, ToF8E4M3(blocks.values[i] / scale)); });
    }
  };
  const auto fill_scales = [blocks](std::span<std::byte> bytes) {
    for (size_t block = 0; block < blocks.count(); ++block) Put(bytes, block, blocks.Scale(block));
  };
  tensors.push_back({name, DType::kF8E4M3, {blocks.rows, blocks.cols}, fill});
  tensors.push_back({absl::StrCat(name, "_scale"),
                     DType::kF32,
                     {blocks.count() / blocks.across(), blocks.across()},
                     fill_scales});
}

bool IsFp8(const Parameter& parameter, ExpertFormat experts) {
  return parameter.kind == ParameterKind::kExpert && experts == ExpertFormat::kFp8;
}

std::string NameOf(const Parameter& parameter, size_t index) {
  return absl::StrReplaceAll(parameter.name, {{"{}", absl::StrCat(index)}});
}

std::string BiasName(const ModelSpec& spec, size_t moe_layer) {
  return absl::StrCat("model.layers.", moe_layer + spec.dense_layer_count, ".mlp.expert_bias");
}

const char* Text(bool value) { return value ? "true" : "false"; }

// Which modules of `layout` stay as they are although they are linear.
std::string QuantizationText() {
  return absl::StrCat(
      R"({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": )",
      R"({"group_0": {"targets": ["Linear"], "weights": {"type": "float", "num_bits": 8, )",
      R"("strategy": "block", "symmetric": true, "dynamic": false, "block_structure": [)", kBlock,
      ", ", kBlock, R"(]}}}, "ignore": ["re:.*self_attn.*", "re:.*router.*", )",
      R"("re:.*shared_experts.*", "re:.*\\.mlp\\.(gate|up|down)_proj", "lm_head"]})");
}

// The tensor's numbers as they lie, or no data if they are not `dtype` or not `count`.
const std::byte* Stored(const Checkpoint& checkpoint, const StoredTensor* tensor, DType dtype,
                        size_t count) {
  if (tensor == nullptr || tensor->dtype != dtype) return nullptr;
  uint64_t size = 1;
  for (const uint64_t extent : tensor->shape) size *= extent;
  return size == count ? checkpoint.Bytes(*tensor).data() : nullptr;
}

// to [rows, cols]; a vector is one row.
absl::Status ReadMatrix(const Checkpoint& checkpoint, const std::string& name, size_t rows,
                        size_t cols, std::span<float> to) {
  const StoredTensor* stored = checkpoint.Find(name);
  TensorView view = {.rows = rows, .cols = cols};
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
    if (view.data != nullptr) break;
    view.data = Stored(checkpoint, stored, dtype, rows * cols);
    view.dtype = dtype;
  }
  if (view.data != nullptr && view.dtype == DType::kF8E4M3) {
    const size_t scales = ((rows + kBlock - 1) / kBlock) * ((cols + kBlock - 1) / kBlock);
    view.scales = {.data = Stored(checkpoint, checkpoint.Find(absl::StrCat(name, "_scale")),
                                  DType::kF32, scales),
                   .block_rows = kBlock,
                   .block_cols = kBlock};
    if (view.scales.data == nullptr) view.data = nullptr;
  }
  if (view.data == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        checkpoint.directory(), ": tensor '", name, "': ",
        stored ? absl::StrCat("found ", ShapeText(stored->shape), " of ",
                              std::string(tessera::NameOf(stored->dtype)))
               : std::string("not found"),
        "; expected ", rows * cols,
        " numbers in F32, BF16 or F8_E4M3 with F32 scales of blocks of ", kBlock, " x ", kBlock));
  }
  for (size_t row = 0; row < rows; ++row) ReadRow(view, row, to.subspan(row * cols, cols));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ExpertFormat> ParseExpertFormat(std::string_view name) {
  if (name == "bf16") return ExpertFormat::kBf16;
  if (name == "fp8") return ExpertFormat::kFp8;
  return absl::InvalidArgumentError(
      absl::StrCat("experts: found '", std::string(name), "'; expected bf16 or fp8"));
}

std::string ConfigText(const ModelSpec& spec, ExpertFormat experts) {
  std::vector<std::string> kinds;
  for (const LayerKind kind : spec.layer_kinds) {
    kinds.push_back(kind == LayerKind::kFull ? "\"full_attention\"" : "\"sliding_attention\"");
  }
  std::string text = "{\n  \"architectures\": [\"AfmoeForCausalLM\"],\n  \"model_type\": \"afmoe\"";
  const auto add = [&text](std::string_view key, const auto& value) {
    absl::StrAppend(&text, ",\n  \"", std::string(key), "\": ", value);
  };
  add("dtype", "\"bfloat16\"");
  add("vocab_size", spec.vocab);
  add("hidden_size", spec.d_model);
  add("num_hidden_layers", spec.layer_count);
  add("num_dense_layers", spec.dense_layer_count);
  add("num_attention_heads", spec.query_heads);
  add("num_key_value_heads", spec.kv_heads);
  add("head_dim", spec.head_dim);
  if (spec.dense_layer_count > 0) add("intermediate_size", spec.dense_width);
  add("moe_intermediate_size", spec.expert_width);
  add("num_experts", spec.expert_count);
  add("num_experts_per_tok", spec.top_k);
  add("num_shared_experts", spec.shared_expert_count);
  add("route_scale", absl::StrFormat("%.9g", spec.route_scale));
  add("route_norm", Text(spec.route_normalize));
  add("score_func", "\"sigmoid\"");
  add("n_group", 1);
  add("topk_group", 1);
  add("hidden_act", "\"silu\"");
  add("rms_norm_eps", absl::StrFormat("%.9g", spec.norm_eps));
  add("rope_theta", absl::StrFormat("%.17g", spec.rope_theta));
  add("rope_scaling", "null");
  if (spec.sliding_window > 0) add("sliding_window", spec.sliding_window);
  add("layer_types", absl::StrCat("[", absl::StrJoin(kinds, ", "), "]"));
  add("max_position_embeddings", spec.context_max);
  add("mup_enabled", Text(spec.embedding_scaled));
  add("tie_word_embeddings", Text(spec.tied_embeddings));
  if (spec.bos_token_id) add("bos_token_id", *spec.bos_token_id);
  if (!spec.eos_token_ids.empty()) {
    add("eos_token_id", absl::StrCat("[", absl::StrJoin(spec.eos_token_ids, ", "), "]"));
  }
  if (experts == ExpertFormat::kFp8) add("quantization_config", QuantizationText());
  return text + "\n}\n";
}

absl::Status WriteModel(const std::string& directory, const ParameterLayout& layout,
                        const ModelWeights& weights, ExpertFormat experts) {
  std::vector<TensorToWrite> tensors;
  for (const Parameter& parameter : layout.parameters) {
    for (size_t i = 0; i < parameter.count; ++i) {
      const std::string name = NameOf(parameter, i);
      const std::span<const float> values =
          weights.values.subspan(parameter.offset + i * parameter.stride, parameter.size());
      if (parameter.kind == ParameterKind::kNorm) {
        tensors.push_back(Plain(name, DType::kF32, {parameter.cols}, values));
      } else if (IsFp8(parameter, experts)) {
        AddFp8(name, {values, parameter.rows, parameter.cols}, tensors);
      } else {
        tensors.push_back(Plain(name, DType::kBF16, {parameter.rows, parameter.cols}, values));
      }
    }
  }
  const ModelSpec& spec = layout.spec;
  for (size_t i = 0; i < spec.moe_layer_count(); ++i) {
    tensors.push_back(Plain(BiasName(spec, i), DType::kF32, {spec.expert_count},
                            weights.expert_bias.subspan(i * spec.expert_count, spec.expert_count)));
  }
  TESSERA_RETURN_IF_ERROR(WriteWholeFile(directory + "/config.json", ConfigText(spec, experts)));
  return WriteTensorFile(directory + "/model.safetensors", tensors);
}

void RoundAsWritten(const ParameterLayout& layout, ExpertFormat experts, std::span<float> values) {
  for (const Parameter& parameter : layout.parameters) {
    if (parameter.kind == ParameterKind::kNorm) continue;
    for (size_t i = 0; i < parameter.count; ++i) {
      const std::span<float> matrix =
          values.subspan(parameter.offset + i * parameter.stride, parameter.size());
      if (!IsFp8(parameter, experts)) {
        for (float& value : matrix) value = ToFloat(ToBF16(value));
        continue;
      }
      const Blocks blocks = {matrix, parameter.rows, parameter.cols};
      for (size_t block = 0; block < blocks.count(); ++block) {
        const float scale = blocks.Scale(block);
        blocks.ForEach(
            block, [&](size_t at) { matrix[at] = ToFloat(ToF8E4M3(matrix[at] / scale)) * scale; });
      }
    }
  }
}

absl::Status ReadModel(const std::string& directory, const ParameterLayout& layout,
                       std::span<float> values, std::span<float> expert_bias) {
  TESSERA_ASSIGN_OR_RETURN(const std::unique_ptr<const Checkpoint> checkpoint,
                           Checkpoint::Open(directory));
  for (const Parameter& parameter : layout.parameters) {
    for (size_t i = 0; i < parameter.count; ++i) {
      TESSERA_RETURN_IF_ERROR(
          ReadMatrix(*checkpoint, NameOf(parameter, i), parameter.rows, parameter.cols,
                     values.subspan(parameter.offset + i * parameter.stride, parameter.size())));
    }
  }
  const size_t experts = layout.spec.expert_count;
  for (size_t i = 0; i < layout.spec.moe_layer_count(); ++i) {
    TESSERA_RETURN_IF_ERROR(ReadMatrix(*checkpoint, BiasName(layout.spec, i), 1, experts,
                                       expert_bias.subspan(i * experts, experts)));
  }
  return checkpoint->Verify();
}

}  // namespace tessera::trainer
