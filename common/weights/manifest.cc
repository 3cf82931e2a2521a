#include "common/weights/manifest.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"

namespace tessera {
namespace {

constexpr size_t kDTypeCount = 8;
constexpr std::array<std::string_view, kTensorRoleCount> kRoleNames = {
    "embeddings", "head", "norms",          "attention",
    "dense mlp",  "gate", "shared experts", "routed experts"};

// Buffers that some exports carry and no forward pass reads.
bool IsIgnored(const std::string& name) {
  return absl::EndsWith(name, "rotary_emb.inv_freq") || absl::EndsWith(name, "tokens_per_expert") ||
         absl::StrContains(name, ".reorderer.");
}

size_t Blocks(size_t size, size_t block) { return (size + block - 1) / block; }

bool IsPlainFloat(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

}  // namespace

// Takes tensors out of the checkpoint one by one; what is left over at the end is surplus.
class ManifestBuilder {
 public:
  ManifestBuilder(const ModelSpec& spec, const Checkpoint& checkpoint)
      : spec_(spec), checkpoint_(checkpoint), used_(checkpoint.tensors().size()) {}

  absl::StatusOr<ModelManifest> Build() {
    ModelManifest manifest;
    manifest.dense_layer_count_ = spec_.dense_layer_count;
    manifest.expert_count_ = spec_.expert_count;
    TESSERA_RETURN_IF_ERROR(TakeOutside(manifest.router_));
    for (size_t i = 0; i < spec_.layer_count; ++i) {
      const std::string layer = absl::StrCat("model.layers.", i);
      LayerTensors& tensors = manifest.router_.layers.emplace_back();
      TESSERA_RETURN_IF_ERROR(TakeAttention(layer, tensors));
      if (spec_.is_dense(i)) {
        TESSERA_RETURN_IF_ERROR(TakeSwiGlu(absl::StrCat(layer, ".mlp"), spec_.dense_width,
                                           TensorRole::kDenseMlp, tensors.mlp));
      } else {
        TESSERA_RETURN_IF_ERROR(TakeMoe(absl::StrCat(layer, ".mlp"), tensors, manifest.experts_));
      }
    }
    TESSERA_RETURN_IF_ERROR(RefuseSurplus());
    for (const auto& by_dtype : totals_) {
      for (const RoleTotal& total : by_dtype) {
        if (total.tensor_count > 0) manifest.totals_.push_back(total);
      }
    }
    return manifest;
  }

 private:
  using Shape = std::initializer_list<uint64_t>;

  absl::Status Refuse(const StoredTensor& tensor, std::string_view found,
                      std::string_view expected) const {
    return absl::InvalidArgumentError(absl::StrCat(checkpoint_.PathOf(tensor), ": tensor '",
                                                   tensor.name, "': found ", std::string(found),
                                                   "; expected ", std::string(expected)));
  }

  void Count(TensorRole role, const StoredTensor& tensor) {
    RoleTotal& total = totals_[static_cast<size_t>(role)][static_cast<size_t>(tensor.dtype)];
    total.role = role;
    total.dtype = tensor.dtype;
    total.tensor_count += 1;
    total.element_count += tensor.size_bytes / SizeOf(tensor.dtype);
    total.size_bytes += tensor.size_bytes;
  }

  // The tensor called `name`, which must have `shape`; marks it as used.
  absl::StatusOr<const StoredTensor*> Take(const std::string& name, Shape shape, TensorRole role) {
    const StoredTensor* tensor = checkpoint_.Find(name);
    if (tensor == nullptr)
      return absl::InvalidArgumentError(
          absl::StrCat(checkpoint_.directory(), ": tensor '", name,
                       "' is missing; config.json asks for it with shape ",
                       ShapeText({shape.begin(), shape.size()})));
    if (!std::equal(shape.begin(), shape.end(), tensor->shape.begin(), tensor->shape.end()))
      return Refuse(*tensor, absl::StrCat("shape ", ShapeText(tensor->shape)),
                    absl::StrCat(ShapeText({shape.begin(), shape.size()}), " by config.json"));
    used_[static_cast<size_t>(tensor - checkpoint_.tensors().data())] = true;
    Count(role, *tensor);
    return tensor;
  }

  TensorView ViewOf(const StoredTensor& tensor, size_t rows, size_t cols) const {
    return {checkpoint_.Bytes(tensor).data(), tensor.dtype, rows, cols, {}};
  }

  absl::Status TakeVector(const std::string& name, size_t size, TensorRole role, TensorView& out) {
    TESSERA_ASSIGN_OR_RETURN(const StoredTensor* tensor, Take(name, {size}, role));
    if (!IsPlainFloat(tensor->dtype))
      return Refuse(*tensor, NameOf(tensor->dtype), "F32, F16 or BF16");
    out = ViewOf(*tensor, 1, size);
    return absl::OkStatus();
  }

  // A matrix that no checkpoint quantises.
  absl::Status TakePlain(const std::string& name, size_t rows, size_t cols, TensorRole role,
                         TensorView& out) {
    TESSERA_ASSIGN_OR_RETURN(const StoredTensor* tensor, Take(name, {rows, cols}, role));
    if (!IsPlainFloat(tensor->dtype))
      return Refuse(*tensor, NameOf(tensor->dtype), "F32, F16 or BF16");
    out = ViewOf(*tensor, rows, cols);
    return absl::OkStatus();
  }

  absl::Status CheckLinear(const StoredTensor& tensor) const {
    if (IsPlainFloat(tensor.dtype)) return absl::OkStatus();
    if (tensor.dtype != DType::kF8E4M3)
      return Refuse(tensor, NameOf(tensor.dtype), "F32, F16, BF16 or F8_E4M3");
    if (spec_.quantization) return absl::OkStatus();
    return Refuse(tensor, "F8_E4M3", "F32, F16 or BF16: config.json has no quantization_config");
  }

  // The scales of an F8_E4M3 tensor; `names` are tried in turn. Without data for other dtypes.
  absl::StatusOr<BlockScales> TakeScales(const StoredTensor& tensor,
                                         std::initializer_list<std::string> names, Shape shape,
                                         TensorRole role) {
    BlockScales scales;
    if (tensor.dtype != DType::kF8E4M3) return scales;
    const auto name = std::find_if(names.begin(), names.end(), [this](const std::string& n) {
      return checkpoint_.Find(n) != nullptr;
    });
    TESSERA_ASSIGN_OR_RETURN(const StoredTensor* stored,
                             Take(name == names.end() ? *names.begin() : *name, shape, role));
    scales.dtype = stored->dtype == DType::kU8 ? DType::kF8E8M0 : stored->dtype;
    if (!IsPlainFloat(scales.dtype) && scales.dtype != DType::kF8E8M0)
      return Refuse(*stored, NameOf(stored->dtype), "F32, F16, BF16, F8_E8M0 or U8");
    scales.data = checkpoint_.Bytes(*stored).data();
    scales.block_rows = spec_.quantization->block_rows;
    scales.block_cols = spec_.quantization->block_cols;
    return scales;
  }

  // Blocks along a dimension; 0 where nothing is quantised and nobody asks.
  size_t RowBlocks(size_t rows) const {
    return spec_.quantization ? Blocks(rows, spec_.quantization->block_rows) : 0;
  }
  size_t ColBlocks(size_t cols) const {
    return spec_.quantization ? Blocks(cols, spec_.quantization->block_cols) : 0;
  }

  absl::Status TakeLinear(const std::string& module, size_t rows, size_t cols, TensorRole role,
                          TensorView& out) {
    TESSERA_ASSIGN_OR_RETURN(const StoredTensor* tensor,
                             Take(absl::StrCat(module, ".weight"), {rows, cols}, role));
    TESSERA_RETURN_IF_ERROR(CheckLinear(*tensor));
    out = ViewOf(*tensor, rows, cols);
    TESSERA_ASSIGN_OR_RETURN(out.scales, TakeScales(*tensor,
                                                    {absl::StrCat(module, ".weight_scale"),
                                                     absl::StrCat(module, ".weight_scale_inv")},
                                                    {RowBlocks(rows), ColBlocks(cols)}, role));
    return absl::OkStatus();
  }

  absl::Status TakeSwiGlu(const std::string& module, size_t width, TensorRole role,
                          SwiGluTensors& out) {
    const size_t d = spec_.d_model;
    TESSERA_RETURN_IF_ERROR(
        TakeLinear(absl::StrCat(module, ".gate_proj"), width, d, role, out.gate));
    TESSERA_RETURN_IF_ERROR(TakeLinear(absl::StrCat(module, ".up_proj"), width, d, role, out.up));
    return TakeLinear(absl::StrCat(module, ".down_proj"), d, width, role, out.down);
  }

  absl::Status TakeOutside(RouterTensors& out) {
    const size_t d = spec_.d_model;
    TESSERA_RETURN_IF_ERROR(TakePlain("model.embed_tokens.weight", spec_.vocab, d,
                                      TensorRole::kEmbeddings, out.embeddings));
    TESSERA_RETURN_IF_ERROR(TakeVector("model.norm.weight", d, TensorRole::kNorms, out.final_norm));
    if (!spec_.tied_embeddings)
      return TakeLinear("lm_head", spec_.vocab, d, TensorRole::kHead, out.head);
    out.head = out.embeddings;
    return AllowEqualHead(out.embeddings);
  }

  // Some exports write the tied head as well: fine if it is the embeddings.
  absl::Status AllowEqualHead(const TensorView& embeddings) {
    const StoredTensor* head = checkpoint_.Find("lm_head.weight");
    if (head == nullptr) return absl::OkStatus();
    const std::span<const std::byte> bytes = checkpoint_.Bytes(*head);
    if (head->dtype != embeddings.dtype || bytes.size() != embeddings.size_bytes() ||
        std::memcmp(bytes.data(), embeddings.data, bytes.size()) != 0)
      return Refuse(*head, "a head that differs from model.embed_tokens.weight",
                    "the same, or none: config.json has tie_word_embeddings");
    used_[static_cast<size_t>(head - checkpoint_.tensors().data())] = true;
    return absl::OkStatus();
  }

  absl::Status TakeAttention(const std::string& layer, LayerTensors& out) {
    const size_t d = spec_.d_model;
    const std::pair<const char*, TensorView*> norms[] = {
        {".input_layernorm.weight", &out.input_norm},
        {".post_attention_layernorm.weight", &out.post_attention_norm},
        {".pre_mlp_layernorm.weight", &out.pre_mlp_norm},
        {".post_mlp_layernorm.weight", &out.post_mlp_norm}};
    for (const auto& [name, view] : norms)
      TESSERA_RETURN_IF_ERROR(TakeVector(absl::StrCat(layer, name), d, TensorRole::kNorms, *view));

    AttentionTensors& attention = out.attention;
    const std::string module = absl::StrCat(layer, ".self_attn");
    TESSERA_RETURN_IF_ERROR(TakeVector(absl::StrCat(module, ".q_norm.weight"), spec_.head_dim,
                                       TensorRole::kNorms, attention.query_norm));
    TESSERA_RETURN_IF_ERROR(TakeVector(absl::StrCat(module, ".k_norm.weight"), spec_.head_dim,
                                       TensorRole::kNorms, attention.key_norm));
    const auto take = [&](const char* name, size_t rows, size_t cols, TensorView& view) {
      return TakeLinear(absl::StrCat(module, name), rows, cols, TensorRole::kAttention, view);
    };
    TESSERA_RETURN_IF_ERROR(take(".q_proj", spec_.query_width(), d, attention.query));
    TESSERA_RETURN_IF_ERROR(take(".k_proj", spec_.kv_width(), d, attention.key));
    TESSERA_RETURN_IF_ERROR(take(".v_proj", spec_.kv_width(), d, attention.value));
    TESSERA_RETURN_IF_ERROR(take(".gate_proj", spec_.query_width(), d, attention.gate));
    return take(".o_proj", d, spec_.query_width(), attention.output);
  }

  absl::Status TakeMoe(const std::string& mlp, LayerTensors& out,
                       std::vector<SwiGluTensors>& experts) {
    TESSERA_RETURN_IF_ERROR(TakeLinear(absl::StrCat(mlp, ".router.gate"), spec_.expert_count,
                                       spec_.d_model, TensorRole::kGate, out.gate));
    TESSERA_RETURN_IF_ERROR(TakeVector(absl::StrCat(mlp, ".expert_bias"), spec_.expert_count,
                                       TensorRole::kGate, out.expert_bias));
    if (spec_.shared_expert_count > 0)
      TESSERA_RETURN_IF_ERROR(TakeSwiGlu(absl::StrCat(mlp, ".shared_experts"), spec_.shared_width(),
                                         TensorRole::kSharedExperts, out.mlp));
    if (checkpoint_.Find(absl::StrCat(mlp, ".experts.gate_up_proj")) != nullptr)
      return TakeFusedExperts(absl::StrCat(mlp, ".experts"), experts);
    for (size_t e = 0; e < spec_.expert_count; ++e)
      TESSERA_RETURN_IF_ERROR(TakeSwiGlu(absl::StrCat(mlp, ".experts.", e), spec_.expert_width,
                                         TensorRole::kRoutedExperts, experts.emplace_back()));
    return absl::OkStatus();
  }

  // A tensor [experts, rows, cols] whose experts are matrices of their own. Returns the first
  // one's.
  absl::StatusOr<TensorView> TakeStack(const std::string& name, size_t rows, size_t cols) {
    const TensorRole role = TensorRole::kRoutedExperts;
    TESSERA_ASSIGN_OR_RETURN(const StoredTensor* tensor,
                             Take(name, {spec_.expert_count, rows, cols}, role));
    TESSERA_RETURN_IF_ERROR(CheckLinear(*tensor));
    TensorView first = ViewOf(*tensor, rows, cols);
    TESSERA_ASSIGN_OR_RETURN(
        first.scales,
        TakeScales(*tensor,
                   {absl::StrCat(name, "_weight_scale"), absl::StrCat(name, "_weight_scale_inv"),
                    absl::StrCat(name, "_scale"), absl::StrCat(name, "_scale_inv"),
                    absl::StrCat(name, ".weight_scale"), absl::StrCat(name, ".weight_scale_inv")},
                   {spec_.expert_count, RowBlocks(rows), ColBlocks(cols)}, role));
    return first;
  }

  TensorView InStack(const TensorView& first, size_t index) const {
    TensorView view = first;
    view.data += index * first.size_bytes();
    if (view.scales.data != nullptr)
      view.scales.data +=
          index * RowBlocks(first.rows) * ColBlocks(first.cols) * SizeOf(view.scales.dtype);
    return view;
  }

  absl::Status TakeFusedExperts(const std::string& module, std::vector<SwiGluTensors>& experts) {
    const size_t width = spec_.expert_width;
    const std::string gate_up_name = absl::StrCat(module, ".gate_up_proj");
    TESSERA_ASSIGN_OR_RETURN(const TensorView gate_up,
                             TakeStack(gate_up_name, 2 * width, spec_.d_model));
    TESSERA_ASSIGN_OR_RETURN(const TensorView down,
                             TakeStack(absl::StrCat(module, ".down_proj"), spec_.d_model, width));
    if (gate_up.scales.data != nullptr && width % gate_up.scales.block_rows != 0)
      return Refuse(*checkpoint_.Find(gate_up_name),
                    absl::StrCat("blocks of ", gate_up.scales.block_rows, " rows"),
                    absl::StrCat("a divisor of moe_intermediate_size, ", width,
                                 ": a block must not span gate and up rows"));
    for (size_t e = 0; e < spec_.expert_count; ++e) {
      const TensorView both = InStack(gate_up, e);
      experts.push_back({both.Rows(0, width), both.Rows(width, width), InStack(down, e)});
    }
    return absl::OkStatus();
  }

  absl::Status RefuseSurplus() const {
    const StoredTensor* first = nullptr;
    size_t count = 0;
    for (size_t i = 0; i < used_.size(); ++i) {
      const StoredTensor& tensor = checkpoint_.tensors()[i];
      if (used_[i] || IsIgnored(tensor.name)) continue;
      if (count++ == 0) first = &tensor;
    }
    if (count == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(checkpoint_.PathOf(*first), ": tensor '", first->name, "' ",
                     std::string(NameOf(first->dtype)), " ", ShapeText(first->shape),
                     " has no place in the model that config.json describes",
                     count > 1 ? absl::StrCat("; nor have ", count - 1, " others") : ""));
  }

  const ModelSpec& spec_;
  const Checkpoint& checkpoint_;
  std::vector<bool> used_;  // [checkpoint_.tensors()]
  std::array<std::array<RoleTotal, kDTypeCount>, kTensorRoleCount> totals_{};
};

std::string_view NameOf(TensorRole role) { return kRoleNames[static_cast<size_t>(role)]; }

absl::StatusOr<ModelManifest> ModelManifest::Resolve(const ModelSpec& spec,
                                                     const Checkpoint& checkpoint) {
  return ManifestBuilder(spec, checkpoint).Build();
}

const SwiGluTensors& ModelManifest::expert(LayerIndex layer, ExpertId expert) const {
  const size_t index = ToIndex(layer);
  TESSERA_CHECK(index >= dense_layer_count_ && ToIndex(expert) < expert_count_);
  return experts_.at((index - dense_layer_count_) * expert_count_ + ToIndex(expert));
}

uint64_t ModelManifest::size_bytes() const {
  uint64_t sum = 0;
  for (const RoleTotal& total : totals_) sum += total.size_bytes;
  return sum;
}

absl::StatusOr<std::vector<float>> ReadVector(const Checkpoint& checkpoint,
                                              const TensorView& view) {
  TESSERA_CHECK(view.rows == 1);
  std::vector<float> values(view.cols);
  ReadRow(view, 0, values);
  const auto bad =
      std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  if (bad == values.end()) return values;
  return absl::DataLossError(absl::StrCat(checkpoint.Whereabouts(view.data), ": element ",
                                          bad - values.begin(), " is ", *bad,
                                          "; expected a finite number"));
}

}  // namespace tessera
