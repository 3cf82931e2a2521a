#include "common/model/model_config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace tessera {
namespace {

// Ranges beyond any known model, narrow enough that no product of ours overflows: the largest
// tensor is experts x 2 x width x d_model <= 2^16 * 2^23 * 2^20 = 2^59 elements.
constexpr uint64_t kModelDimMax = uint64_t{1} << 20;
constexpr uint64_t kWidthMax = uint64_t{1} << 22;
constexpr uint64_t kLayersMax = 4096;
constexpr uint64_t kHeadsMax = 1 << 14;
constexpr uint64_t kHeadDimMax = 1 << 14;
constexpr uint64_t kExpertsMax = 1 << 16;
constexpr uint64_t kSharedExpertsMax = 256;
constexpr uint64_t kVocabMax = uint64_t{1} << 26;
constexpr uint64_t kPositionsMax = INT32_MAX;
constexpr uint64_t kBlockMax = 1 << 16;
constexpr double kNormEpsMin = 1e-30;  // a smaller one may be zero as a float

// The member called `key`; null counts as absent.
std::optional<JsonValue> FindSet(const JsonValue& object, std::string_view key) {
  std::optional<JsonValue> value = object.Find(key);
  return value && !value->is_null() ? value : std::nullopt;
}

absl::Status ReadSize(const JsonValue& config, std::string_view key, uint64_t min, uint64_t max,
                      size_t& out) {
  TESSERA_ASSIGN_OR_RETURN(const JsonValue value, config.Member(key));
  TESSERA_ASSIGN_OR_RETURN(out, value.AsUnsigned(min, max));
  return absl::OkStatus();
}

absl::Status ReadReal(const JsonValue& value, double min, double max, double& out) {
  TESSERA_ASSIGN_OR_RETURN(out, value.AsNumber());
  if (out >= min && out <= max) return absl::OkStatus();
  return value.Unexpected(absl::StrCat("a number from ", min, " to ", max));
}

absl::Status ReadRequiredReal(const JsonValue& config, std::string_view key, double min, double max,
                              double& out) {
  TESSERA_ASSIGN_OR_RETURN(const JsonValue value, config.Member(key));
  return ReadReal(value, min, max, out);
}

// A key that is absent or null leaves `out` alone.
absl::Status ReadOptionalBool(const JsonValue& config, std::string_view key, bool& out) {
  const std::optional<JsonValue> value = FindSet(config, key);
  if (!value) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(out, value->AsBool());
  return absl::OkStatus();
}

// Refuses a string other than `only`; absent and null pass.
absl::Status ExpectString(const JsonValue& config, std::string_view key, std::string_view only) {
  const std::optional<JsonValue> value = FindSet(config, key);
  if (!value) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(const std::string_view text, value->AsString());
  if (text == only) return absl::OkStatus();
  return value->Unexpected(absl::StrCat("'", std::string(only), "', the only one supported"));
}

absl::Status ExpectNumber(const JsonValue& config, std::string_view key, double only) {
  const std::optional<JsonValue> value = FindSet(config, key);
  if (!value) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(const double number, value->AsNumber());
  if (number == only) return absl::OkStatus();
  return value->Unexpected(absl::StrCat(only, ", the only one supported"));
}

absl::Status ExpectBool(const JsonValue& config, std::string_view key, bool only) {
  bool found = only;
  TESSERA_RETURN_IF_ERROR(ReadOptionalBool(config, key, found));
  if (found == only) return absl::OkStatus();
  return config.Find(key)->Unexpected(only ? "true, the only one supported"
                                           : "false, the only one supported");
}

absl::Status ExpectFamily(const JsonValue& config) {
  TESSERA_RETURN_IF_ERROR(config.AsObject().status());
  TESSERA_RETURN_IF_ERROR(config.Member("model_type").status());
  TESSERA_RETURN_IF_ERROR(ExpectString(config, "model_type", "afmoe"));
  TESSERA_RETURN_IF_ERROR(ExpectString(config, "hidden_act", "silu"));
  TESSERA_RETURN_IF_ERROR(ExpectString(config, "score_func", "sigmoid"));
  TESSERA_RETURN_IF_ERROR(ExpectBool(config, "attention_bias", false));
  for (const char* key : {"n_group", "topk_group", "num_expert_groups", "num_limited_groups"})
    TESSERA_RETURN_IF_ERROR(ExpectNumber(config, key, 1));
  return absl::OkStatus();
}

absl::Status ReadAttention(const JsonValue& config, ModelSpec& spec) {
  TESSERA_RETURN_IF_ERROR(ReadSize(config, "num_attention_heads", 1, kHeadsMax, spec.query_heads));
  TESSERA_RETURN_IF_ERROR(
      ReadSize(config, "num_key_value_heads", 1, spec.query_heads, spec.kv_heads));
  if (spec.query_heads % spec.kv_heads != 0)
    return config.Find("num_key_value_heads")
        ->Unexpected(absl::StrCat("a divisor of num_attention_heads, ", spec.query_heads));
  TESSERA_RETURN_IF_ERROR(ReadSize(config, "head_dim", 2, kHeadDimMax, spec.head_dim));
  if (spec.head_dim % 2 != 0) return config.Find("head_dim")->Unexpected("an even number");
  return absl::OkStatus();
}

absl::Status ReadLayerKinds(const JsonValue& config, ModelSpec& spec) {
  const std::optional<JsonValue> types = FindSet(config, "layer_types");
  if (!types) {
    size_t period = 0;
    if (!FindSet(config, "global_attn_every_n_layers"))
      return absl::InvalidArgumentError(
          "the keys layer_types and global_attn_every_n_layers are missing; one of them must tell "
          "which layers attend in full");
    TESSERA_RETURN_IF_ERROR(ReadSize(config, "global_attn_every_n_layers", 1, kLayersMax, period));
    for (size_t i = 0; i < spec.layer_count; ++i)
      spec.layer_kinds.push_back((i + 1) % period == 0 ? LayerKind::kFull : LayerKind::kSliding);
    return absl::OkStatus();
  }
  TESSERA_ASSIGN_OR_RETURN(const JsonElements elements, types->AsArray());
  if (elements.size() != spec.layer_count)
    return types->Unexpected(absl::StrCat("num_hidden_layers, ", spec.layer_count, ", entries"));
  for (const JsonValue element : elements) {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view kind, element.AsString());
    if (kind != "full_attention" && kind != "sliding_attention")
      return element.Unexpected("'full_attention' or 'sliding_attention'");
    spec.layer_kinds.push_back(kind == "full_attention" ? LayerKind::kFull : LayerKind::kSliding);
  }
  return absl::OkStatus();
}

// Both spellings of "no scaling": null, or an object whose type is "default".
absl::Status ExpectNoScaling(const JsonValue& config, std::string_view key) {
  const std::optional<JsonValue> rope = FindSet(config, key);
  if (!rope) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(rope->AsObject().status());
  TESSERA_RETURN_IF_ERROR(ExpectString(*rope, "rope_type", "default"));
  TESSERA_RETURN_IF_ERROR(ExpectString(*rope, "type", "default"));
  return ExpectNumber(*rope, "partial_rotary_factor", 1);
}

absl::Status ReadRope(const JsonValue& config, ModelSpec& spec) {
  constexpr double kThetaMax = 1e15;
  TESSERA_RETURN_IF_ERROR(ExpectNoScaling(config, "rope_scaling"));
  TESSERA_RETURN_IF_ERROR(ExpectNoScaling(config, "rope_parameters"));
  TESSERA_RETURN_IF_ERROR(ExpectNumber(config, "partial_rotary_factor", 1));
  const std::optional<JsonValue> outer = FindSet(config, "rope_theta");
  const std::optional<JsonValue> parameters = FindSet(config, "rope_parameters");
  const std::optional<JsonValue> inner =
      parameters ? FindSet(*parameters, "rope_theta") : std::nullopt;
  if (outer) TESSERA_RETURN_IF_ERROR(ReadReal(*outer, 1, kThetaMax, spec.rope_theta));
  if (inner) {
    TESSERA_RETURN_IF_ERROR(ReadReal(*inner, 1, kThetaMax, spec.rope_theta));
    if (outer && *outer->AsNumber() != spec.rope_theta)
      return inner->Unexpected("the same number as rope_theta");
  }
  const bool needed =
      std::count(spec.layer_kinds.begin(), spec.layer_kinds.end(), LayerKind::kSliding) > 0;
  if (needed && !outer && !inner)
    return absl::InvalidArgumentError(
        "the keys rope_theta and rope_parameters.rope_theta are missing; sliding layers need one");
  if (!needed && !FindSet(config, "sliding_window")) return absl::OkStatus();
  return ReadSize(config, "sliding_window", 1, kPositionsMax, spec.sliding_window);
}

absl::Status ReadFeedForward(const JsonValue& config, ModelSpec& spec) {
  if (spec.dense_layer_count > 0)
    TESSERA_RETURN_IF_ERROR(ReadSize(config, "intermediate_size", 1, kWidthMax, spec.dense_width));
  if (spec.moe_layer_count() == 0) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(
      ReadSize(config, "moe_intermediate_size", 1, kWidthMax, spec.expert_width));
  TESSERA_RETURN_IF_ERROR(ReadSize(config, "num_experts", 1, kExpertsMax, spec.expert_count));
  TESSERA_RETURN_IF_ERROR(
      ReadSize(config, "num_experts_per_tok", 1, spec.expert_count, spec.top_k));
  TESSERA_RETURN_IF_ERROR(
      ReadSize(config, "num_shared_experts", 0, kSharedExpertsMax, spec.shared_expert_count));
  double route_scale = 0;
  TESSERA_RETURN_IF_ERROR(ReadRequiredReal(config, "route_scale", 1e-10, 1e6, route_scale));
  spec.route_scale = static_cast<float>(route_scale);
  return ReadOptionalBool(config, "route_norm", spec.route_normalize);
}

absl::StatusOr<BlockQuantization> ParseGroup(const JsonValue& group) {
  TESSERA_RETURN_IF_ERROR(group.AsObject().status());
  TESSERA_RETURN_IF_ERROR(ExpectString(group, "format", "float-quantized"));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue weights, group.Member("weights"));
  for (const char* key : {"type", "num_bits", "strategy", "block_structure"})
    TESSERA_RETURN_IF_ERROR(weights.Member(key).status());
  TESSERA_RETURN_IF_ERROR(ExpectString(weights, "type", "float"));
  TESSERA_RETURN_IF_ERROR(ExpectNumber(weights, "num_bits", 8));
  TESSERA_RETURN_IF_ERROR(ExpectString(weights, "strategy", "block"));
  TESSERA_RETURN_IF_ERROR(ExpectBool(weights, "symmetric", true));
  TESSERA_RETURN_IF_ERROR(ExpectBool(weights, "dynamic", false));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue block, weights.Member("block_structure"));
  if (!block.is_array() || block.size() != 2)
    return block.Unexpected("two numbers, rows and columns of a block");
  BlockQuantization quantization;
  TESSERA_ASSIGN_OR_RETURN(quantization.block_rows, block.at(0).AsUnsigned(1, kBlockMax));
  TESSERA_ASSIGN_OR_RETURN(quantization.block_cols, block.at(1).AsUnsigned(1, kBlockMax));
  return quantization;
}

absl::Status ReadQuantization(const JsonValue& config, ModelSpec& spec) {
  const std::optional<JsonValue> section = FindSet(config, "quantization_config");
  if (!section) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(section->Member("quant_method").status());
  TESSERA_RETURN_IF_ERROR(ExpectString(*section, "quant_method", "compressed-tensors"));
  TESSERA_RETURN_IF_ERROR(section->Member("format").status());
  TESSERA_RETURN_IF_ERROR(ExpectString(*section, "format", "float-quantized"));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue groups, section->Member("config_groups"));
  if (groups.size() == 0 || !groups.is_object())
    return groups.Unexpected("an object with at least one group");
  for (auto [name, group] : groups.members()) {
    TESSERA_ASSIGN_OR_RETURN(BlockQuantization parsed, ParseGroup(group));
    if (spec.quantization && (spec.quantization->block_rows != parsed.block_rows ||
                              spec.quantization->block_cols != parsed.block_cols))
      return group.Unexpected("the block_structure of the group before it");
    spec.quantization = std::move(parsed);
  }
  const std::optional<JsonValue> ignore = FindSet(*section, "ignore");
  if (!ignore) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(const JsonElements modules, ignore->AsArray());
  for (const JsonValue module : modules) {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view name, module.AsString());
    spec.quantization->ignored.emplace_back(name);
  }
  return absl::OkStatus();
}

// Adds the ids of `eos_token_id` (a number, a list or null) that are not yet there.
absl::Status ReadEndTokens(const JsonValue& config, ModelSpec& spec) {
  const std::optional<JsonValue> eos = FindSet(config, "eos_token_id");
  if (!eos) return absl::OkStatus();
  const size_t count = eos->is_array() ? eos->size() : 1;
  for (size_t i = 0; i < count; ++i) {
    const JsonValue value = eos->is_array() ? eos->at(i) : *eos;
    TESSERA_ASSIGN_OR_RETURN(const uint64_t id, value.AsUnsigned(0, spec.vocab - 1));
    std::vector<int32_t>& ids = spec.eos_token_ids;
    if (std::find(ids.begin(), ids.end(), static_cast<int32_t>(id)) == ids.end())
      ids.push_back(static_cast<int32_t>(id));
  }
  return absl::OkStatus();
}

absl::Status ReadTokens(const JsonValue& config, ModelSpec& spec) {
  TESSERA_RETURN_IF_ERROR(ReadEndTokens(config, spec));
  const std::optional<JsonValue> bos = FindSet(config, "bos_token_id");
  if (spec.bos_token_id || !bos) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(const uint64_t id, bos->AsUnsigned(0, spec.vocab - 1));
  spec.bos_token_id = static_cast<int32_t>(id);
  return absl::OkStatus();
}

absl::StatusOr<ModelSpec> ParseConfig(const JsonValue& config) {
  ModelSpec spec;
  TESSERA_RETURN_IF_ERROR(ExpectFamily(config));
  TESSERA_RETURN_IF_ERROR(ReadSize(config, "hidden_size", 1, kModelDimMax, spec.d_model));
  TESSERA_RETURN_IF_ERROR(ReadSize(config, "num_hidden_layers", 1, kLayersMax, spec.layer_count));
  TESSERA_RETURN_IF_ERROR(
      ReadSize(config, "num_dense_layers", 0, spec.layer_count, spec.dense_layer_count));
  TESSERA_RETURN_IF_ERROR(ReadSize(config, "vocab_size", 1, kVocabMax, spec.vocab));
  TESSERA_RETURN_IF_ERROR(
      ReadSize(config, "max_position_embeddings", 1, kPositionsMax, spec.context_max));
  TESSERA_RETURN_IF_ERROR(ReadAttention(config, spec));
  TESSERA_RETURN_IF_ERROR(ReadLayerKinds(config, spec));
  TESSERA_RETURN_IF_ERROR(ReadRope(config, spec));
  TESSERA_RETURN_IF_ERROR(ReadFeedForward(config, spec));

  double norm_eps = 0;
  TESSERA_RETURN_IF_ERROR(ReadRequiredReal(config, "rms_norm_eps", kNormEpsMin, 1, norm_eps));
  spec.norm_eps = static_cast<float>(norm_eps);
  TESSERA_ASSIGN_OR_RETURN(const JsonValue mup, config.Member("mup_enabled"));
  TESSERA_ASSIGN_OR_RETURN(spec.embedding_scaled, mup.AsBool());
  TESSERA_RETURN_IF_ERROR(ReadOptionalBool(config, "tie_word_embeddings", spec.tied_embeddings));
  TESSERA_RETURN_IF_ERROR(ReadQuantization(config, spec));
  TESSERA_RETURN_IF_ERROR(ReadTokens(config, spec));
  return spec;
}

}  // namespace

absl::StatusOr<ModelSpec> ParseModelSpec(const JsonValue& config,
                                         const std::optional<JsonValue>& generation_config) {
  absl::StatusOr<ModelSpec> spec = ParseConfig(config);
  if (!spec.ok()) return Annotate(spec.status(), "config.json");
  if (!generation_config) return spec;
  absl::Status status = generation_config->AsObject().status();
  if (status.ok()) status = ReadTokens(*generation_config, *spec);
  if (!status.ok()) return Annotate(status, "generation_config.json");
  return spec;
}

absl::StatusOr<ModelSpec> ReadModelSpec(const std::string& directory) {
  const std::filesystem::path root(directory);
  const JsonLimits limits = {.bytes_max = size_t{4} << 20};
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument config,
                           JsonDocument::ReadFile((root / "config.json").string(), limits));
  absl::StatusOr<JsonDocument> generation =
      JsonDocument::ReadFile((root / "generation_config.json").string(), limits);
  if (!generation.ok() && generation.status().code() != absl::StatusCode::kNotFound)
    return generation.status();
  absl::StatusOr<ModelSpec> spec = generation.ok()
                                       ? ParseModelSpec(config.root(), generation->root())
                                       : ParseModelSpec(config.root());
  if (!spec.ok()) return Annotate(spec.status(), directory);
  return spec;
}

absl::StatusOr<size_t> ReadTokenCount(const std::string& directory, size_t vocab) {
  const std::string path = (std::filesystem::path(directory) / "tokenizer.json").string();
  const absl::StatusOr<JsonDocument> tokenizer = JsonDocument::ReadFile(path);
  if (absl::IsNotFound(tokenizer.status())) return vocab;
  TESSERA_RETURN_IF_ERROR(tokenizer.status());
  int64_t highest = -1;
  const auto count = [&](const JsonValue& id) -> absl::Status {
    TESSERA_ASSIGN_OR_RETURN(const int64_t number, id.AsInteger(0));
    highest = std::max(highest, number);
    return absl::OkStatus();
  };
  absl::Status status;
  if (const auto model = tokenizer->root().Find("model")) {
    if (const auto pieces = model->Find("vocab")) {
      for (const auto& [piece, id] : pieces->members()) status.Update(count(id));
    }
  }
  if (const auto added = tokenizer->root().Find("added_tokens")) {
    for (const JsonValue& token : added->elements()) {
      const auto id = token.Find("id");
      status.Update(id ? count(*id) : token.Unexpected("an object with an id"));
    }
  }
  TESSERA_RETURN_IF_ERROR(Annotate(status, path));
  return highest < 0 ? vocab : std::min(vocab, static_cast<size_t>(highest) + 1);
}

}  // namespace tessera
