#include "common/weights/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/model/model_config.h"
#include "tests/support/tiny_model.h"

namespace tessera {
namespace {

using ::testing::AllOf;
using testing::FileTensor;
using ::testing::HasSubstr;
using testing::TempFolder;
using testing::TinyModelOptions;
using testing::TinySpec;
using testing::TinyWeights;

// A checkpoint written, opened and resolved.
struct Loaded {
  TempFolder folder;
  ModelSpec spec;
  std::unique_ptr<const Checkpoint> checkpoint;
  absl::StatusOr<ModelManifest> manifest = absl::UnknownError("not resolved");
};

Loaded Load(const ModelSpec& spec, const std::vector<FileTensor>& tensors, size_t shards = 1) {
  Loaded loaded;
  testing::WriteFile(loaded.folder.File("config.json"), testing::ConfigText(spec));
  testing::WriteCheckpoint(loaded.folder.path(), tensors, shards);
  absl::StatusOr<ModelSpec> read = ReadModelSpec(loaded.folder.path());
  EXPECT_TRUE(read.ok()) << read.status();
  if (read.ok()) loaded.spec = *read;
  auto checkpoint = Checkpoint::Open(loaded.folder.path());
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  if (!checkpoint.ok()) return loaded;
  loaded.checkpoint = std::move(checkpoint).value();
  loaded.manifest = ModelManifest::Resolve(loaded.spec, *loaded.checkpoint);
  return loaded;
}

Loaded Load(const ModelSpec& spec, const TinyModelOptions& options) {
  return Load(spec, testing::TinyTensors(spec, options), options.shard_count);
}

std::vector<float> Values(const TensorView& view) {
  std::vector<float> values(view.rows * view.cols);
  for (size_t r = 0; r < view.rows; ++r)
    ReadRow(view, r, std::span(values).subspan(r * view.cols, view.cols));
  return values;
}

// Largest |view - expected| over the largest |expected|.
double RelativeError(const TensorView& view, const std::vector<float>& expected) {
  const std::vector<float> values = Values(view);
  EXPECT_EQ(values.size(), expected.size());
  double error = 0, largest = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error = std::max<double>(error, std::fabs(values[i] - expected[i]));
    largest = std::max<double>(largest, std::fabs(expected[i]));
  }
  return error / largest;
}

double WorstExpertError(const Loaded& loaded) {
  const ModelSpec& spec = loaded.spec;
  double worst = 0;
  for (size_t layer = spec.dense_layer_count; layer < spec.layer_count; ++layer) {
    for (size_t e = 0; e < spec.expert_count; ++e) {
      const std::string name = absl::StrCat("model.layers.", layer, ".mlp.experts.", e);
      const SwiGluTensors& expert = loaded.manifest->expert(
          LayerIndex{static_cast<uint32_t>(layer)}, ExpertId{static_cast<uint32_t>(e)});
      const size_t d = spec.d_model, width = spec.expert_width;
      for (const double error :
           {RelativeError(expert.gate, TinyWeights(name + ".gate_proj.weight", width, d, 1)),
            RelativeError(expert.up, TinyWeights(name + ".up_proj.weight", width, d, 1)),
            RelativeError(expert.down, TinyWeights(name + ".down_proj.weight", d, width, 1))})
        worst = std::max(worst, error);
    }
  }
  return worst;
}

ModelSpec QuantizedSpec(size_t block_rows, size_t block_cols) {
  ModelSpec spec = TinySpec();
  spec.quantization = BlockQuantization{block_rows, block_cols, {"lm_head"}};
  return spec;
}

TEST(ManifestTest, ConfigTextReadsBackAsTheSpec) {
  const Loaded loaded = Load(QuantizedSpec(8, 16), TinyModelOptions{});
  ASSERT_TRUE(loaded.manifest.ok()) << loaded.manifest.status();
  EXPECT_EQ(loaded.spec.layer_kinds, TinySpec().layer_kinds);
  EXPECT_EQ(loaded.spec.route_scale, TinySpec().route_scale);
  EXPECT_EQ(loaded.spec.norm_eps, TinySpec().norm_eps);
  EXPECT_EQ(loaded.spec.quantization->block_cols, 16u);
}

TEST(ManifestTest, EveryDTypeFormAndSharding) {
  for (const bool fused : {false, true}) {
    for (const size_t shards : {1u, 3u}) {
      for (const auto& [dtype, bound] :
           {std::pair{DType::kF32, 0.0}, {DType::kF16, 0x1p-11}, {DType::kBF16, 0x1p-8}}) {
        const Loaded loaded =
            Load(TinySpec(), {.dtype = dtype, .fused_experts = fused, .shard_count = shards});
        ASSERT_TRUE(loaded.manifest.ok()) << loaded.manifest.status();
        EXPECT_EQ(loaded.checkpoint->file_count(), shards);
        EXPECT_LE(WorstExpertError(loaded), bound) << NameOf(dtype) << fused << shards;
      }
    }
  }
}

TEST(ManifestTest, RolesPointAtTheirTensors) {
  const Loaded loaded = Load(TinySpec(), {.dtype = DType::kF32});
  ASSERT_TRUE(loaded.manifest.ok()) << loaded.manifest.status();
  const RouterTensors& router = loaded.manifest->router();
  const auto expect = [&](const TensorView& view, const std::string& name) {
    EXPECT_EQ(Values(view), TinyWeights(name, view.rows, view.cols, 1)) << name;
  };
  expect(router.embeddings, "model.embed_tokens.weight");
  expect(router.head, "lm_head.weight");
  expect(router.final_norm, "model.norm.weight");
  const LayerTensors& dense = router.layers[0];
  expect(dense.input_norm, "model.layers.0.input_layernorm.weight");
  expect(dense.post_attention_norm, "model.layers.0.post_attention_layernorm.weight");
  expect(dense.pre_mlp_norm, "model.layers.0.pre_mlp_layernorm.weight");
  expect(dense.post_mlp_norm, "model.layers.0.post_mlp_layernorm.weight");
  expect(dense.attention.query, "model.layers.0.self_attn.q_proj.weight");
  expect(dense.attention.key, "model.layers.0.self_attn.k_proj.weight");
  expect(dense.attention.value, "model.layers.0.self_attn.v_proj.weight");
  expect(dense.attention.gate, "model.layers.0.self_attn.gate_proj.weight");
  expect(dense.attention.output, "model.layers.0.self_attn.o_proj.weight");
  expect(dense.attention.query_norm, "model.layers.0.self_attn.q_norm.weight");
  expect(dense.attention.key_norm, "model.layers.0.self_attn.k_norm.weight");
  expect(dense.mlp.gate, "model.layers.0.mlp.gate_proj.weight");
  expect(dense.mlp.up, "model.layers.0.mlp.up_proj.weight");
  expect(dense.mlp.down, "model.layers.0.mlp.down_proj.weight");
  const LayerTensors& moe = router.layers[4];
  expect(moe.gate, "model.layers.4.mlp.router.gate.weight");
  expect(moe.expert_bias, "model.layers.4.mlp.expert_bias");
  expect(moe.mlp.down, "model.layers.4.mlp.shared_experts.down_proj.weight");
}

TEST(ManifestTest, UnusualShapes) {
  ModelSpec spec = TinySpec();
  spec.dense_layer_count = 0;
  spec.dense_width = 0;
  spec.shared_expert_count = 3;
  spec.kv_heads = 4;
  spec.head_dim = 24;
  spec.tied_embeddings = true;
  const Loaded several = Load(spec, TinyModelOptions{});
  ASSERT_TRUE(several.manifest.ok()) << several.manifest.status();
  EXPECT_EQ(several.manifest->router().layers[0].mlp.gate.rows, 72u);
  EXPECT_EQ(several.manifest->router().head.data, several.manifest->router().embeddings.data);

  spec.shared_expert_count = 0;
  const Loaded none = Load(spec, TinyModelOptions{});
  ASSERT_TRUE(none.manifest.ok()) << none.manifest.status();
  EXPECT_TRUE(none.manifest->router().layers[0].mlp.empty());

  ModelSpec all_dense = TinySpec();
  all_dense.dense_layer_count = all_dense.layer_count;
  const Loaded dense = Load(all_dense, TinyModelOptions{});
  ASSERT_TRUE(dense.manifest.ok()) << dense.manifest.status();
  EXPECT_EQ(dense.manifest->router().layers[4].gate.data, nullptr);
}

// Blocks that divide no dimension, every dtype a scale may have, both forms.
TEST(ManifestTest, BlockScalesReadBackAsDequantised) {
  for (const DType scale : {DType::kF32, DType::kBF16, DType::kF16, DType::kF8E8M0}) {
    for (const bool fused : {false, true}) {
      const Loaded loaded = Load(QuantizedSpec(fused ? 8 : 10, 20),
                                 {.dtype = DType::kF8E4M3,
                                  .quantize_attention = true,
                                  .scale_dtype = scale,
                                  .scale_suffix = fused ? "weight_scale_inv" : "weight_scale",
                                  .fused_experts = fused,
                                  .shard_count = 2});
      ASSERT_TRUE(loaded.manifest.ok()) << loaded.manifest.status();
      // E4M3 keeps 3 fraction bits: half a step is 2^-4 of the value, and the scale is within 2^-8.
      EXPECT_LE(WorstExpertError(loaded), 0x1p-4 * 1.01) << NameOf(scale) << fused;
      EXPECT_GT(WorstExpertError(loaded), 0x1p-9);
      const TensorView& query = loaded.manifest->router().layers[1].attention.query;
      EXPECT_EQ(query.dtype, DType::kF8E4M3);
      EXPECT_EQ(query.scales.dtype, scale);
    }
  }
}

// The exact numbers: stored code times stored scale of its block.
TEST(ManifestTest, BlockScalesAreExact) {
  const ModelSpec spec = QuantizedSpec(10, 20);
  const std::vector<FileTensor> tensors =
      testing::TinyTensors(spec, {.dtype = DType::kF8E4M3, .scale_dtype = DType::kF32});
  const Loaded loaded = Load(spec, tensors);
  ASSERT_TRUE(loaded.manifest.ok()) << loaded.manifest.status();
  const auto stored = [&](const std::string& name) -> const FileTensor& {
    return *std::find_if(tensors.begin(), tensors.end(),
                         [&](const FileTensor& t) { return t.name == name; });
  };
  const std::string module = "model.layers.2.mlp.experts.5.up_proj";
  const FileTensor& codes = stored(module + ".weight");
  const FileTensor& scales = stored(module + ".weight_scale");
  ASSERT_EQ(scales.shape, (std::vector<uint64_t>{3, 3}));  // [24, 48] in blocks of 10 x 20
  const std::vector<float> values = Values(loaded.manifest->expert(LayerIndex{2}, ExpertId{5}).up);
  for (size_t r = 0; r < 24; ++r) {
    for (size_t c = 0; c < 48; ++c) {
      float scale = 0;
      std::memcpy(&scale, scales.bytes.data() + (r / 10 * 3 + c / 20) * sizeof(float), 4);
      const F8E4M3 code = {static_cast<uint8_t>(codes.bytes[r * 48 + c])};
      EXPECT_EQ(values[r * 48 + c], ToFloat(code) * scale);
    }
  }
}

TEST(ManifestTest, TotalsAddUp) {
  const Loaded loaded = Load(QuantizedSpec(8, 16), {.dtype = DType::kF8E4M3});
  ASSERT_TRUE(loaded.manifest.ok()) << loaded.manifest.status();
  uint64_t tensors = 0, bytes = 0, routed_codes = 0;
  for (const RoleTotal& total : loaded.manifest->totals()) {
    tensors += total.tensor_count;
    bytes += total.size_bytes;
    if (total.role == TensorRole::kRoutedExperts && total.dtype == DType::kF8E4M3)
      routed_codes = total.element_count;
  }
  EXPECT_EQ(tensors, loaded.checkpoint->tensors().size());
  EXPECT_EQ(bytes, loaded.manifest->size_bytes());
  EXPECT_EQ(routed_codes, 4u * 8 * 3 * 24 * 48);
  EXPECT_LT(bytes, loaded.checkpoint->file_bytes());
}

// Changes one tensor of a good checkpoint and expects a refusal that names it.
template <typename Change>
std::string Refusal(Change change, const ModelSpec& spec = TinySpec(),
                    const TinyModelOptions& options = {}) {
  std::vector<FileTensor> tensors = testing::TinyTensors(spec, options);
  change(tensors);
  const Loaded loaded = Load(spec, tensors);
  EXPECT_EQ(loaded.manifest.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(loaded.manifest.status().message());
}

FileTensor& At(std::vector<FileTensor>& tensors, const std::string& name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const FileTensor& t) { return t.name == name; });
  EXPECT_NE(found, tensors.end()) << name;
  return *found;
}

TEST(ManifestTest, MissingTensorsAreNamed) {
  for (const char* name :
       {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight",
        "model.layers.0.mlp.down_proj.weight", "model.layers.1.self_attn.gate_proj.weight",
        "model.layers.2.self_attn.k_norm.weight", "model.layers.3.mlp.router.gate.weight",
        "model.layers.3.mlp.expert_bias", "model.layers.4.mlp.shared_experts.up_proj.weight",
        "model.layers.4.mlp.experts.7.down_proj.weight"}) {
    EXPECT_THAT(Refusal([&](auto& tensors) {
                  tensors.erase(tensors.begin() + (&At(tensors, name) - tensors.data()));
                }),
                AllOf(HasSubstr(name), HasSubstr("is missing"), HasSubstr("with shape [")));
  }
}

TEST(ManifestTest, SurplusTensorsAreNamed) {
  const std::string message = Refusal([](auto& tensors) {
    tensors.push_back({"model.layers.9.mlp.up_proj.weight", DType::kU8, {2}, "ab"});
    tensors.push_back({"model.layers.9.mlp.x.weight", DType::kU8, {2}, "ab"});
  });
  EXPECT_THAT(message,
              AllOf(HasSubstr("model.safetensors: tensor 'model.layers.9.mlp.up_proj.weight"),
                    HasSubstr("U8 [2]"), HasSubstr("1 others")));
}

TEST(ManifestTest, BuffersNobodyReadsAreIgnored) {
  std::vector<FileTensor> tensors = testing::TinyTensors(TinySpec(), {});
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", DType::kF32, {1}, "abcd"});
  tensors.push_back({"model.layers.2.mlp.tokens_per_expert", DType::kF32, {1}, "abcd"});
  tensors.push_back({"model.layers.2.mlp.reorderer.top_scores", DType::kF32, {1}, "abcd"});
  EXPECT_TRUE(Load(TinySpec(), tensors).manifest.ok());
}

TEST(ManifestTest, WrongShapesAndDTypesAreNamed) {
  EXPECT_THAT(Refusal([](auto& tensors) {
                At(tensors, "model.layers.1.self_attn.k_proj.weight").shape = {48, 32};
              }),
              AllOf(HasSubstr("model.safetensors"), HasSubstr("k_proj"),
                    HasSubstr("shape [48, 32]"), HasSubstr("expected [32, 48]")));
  EXPECT_THAT(
      Refusal([](auto& tensors) {
        FileTensor& norm = At(tensors, "model.norm.weight");
        norm.dtype = DType::kI32;
      }),
      AllOf(HasSubstr("model.norm.weight"), HasSubstr("I32"), HasSubstr("F32, F16 or BF16")));
  EXPECT_THAT(Refusal([](auto& tensors) {
                FileTensor& up = At(tensors, "model.layers.2.mlp.experts.0.up_proj.weight");
                up.dtype = DType::kF8E4M3;
                up.bytes.resize(up.bytes.size() / 2);
              }),
              AllOf(HasSubstr("experts.0.up_proj"), HasSubstr("no quantization_config")));
  EXPECT_THAT(Refusal([](auto& tensors) {
                FileTensor& embeddings = At(tensors, "model.embed_tokens.weight");
                embeddings.dtype = DType::kU8;
                embeddings.bytes.resize(embeddings.bytes.size() / 2);
              }),
              HasSubstr("model.embed_tokens.weight"));
}

TEST(ManifestTest, WrongScalesAreNamed) {
  const ModelSpec spec = QuantizedSpec(8, 16);
  const TinyModelOptions options = {.dtype = DType::kF8E4M3};
  const std::string scale = "model.layers.2.mlp.experts.1.gate_proj.weight_scale";
  EXPECT_THAT(Refusal([&](auto& tensors) { At(tensors, scale).shape = {9}; }, spec, options),
              AllOf(HasSubstr(scale), HasSubstr("shape [9]"), HasSubstr("[3, 3]")));
  EXPECT_THAT(
      Refusal([&](auto& tensors) { At(tensors, scale).dtype = DType::kI32; }, spec, options),
      AllOf(HasSubstr(scale), HasSubstr("I32")));
  EXPECT_THAT(Refusal([&](auto& tensors) { At(tensors, scale).name = "x"; }, spec, options),
              AllOf(HasSubstr(scale), HasSubstr("is missing")));
  EXPECT_THAT(Refusal([](auto&) {}, QuantizedSpec(10, 16),
                      {.dtype = DType::kF8E4M3, .fused_experts = true}),
              AllOf(HasSubstr("gate_up_proj"), HasSubstr("divisor of moe_intermediate_size, 24")));
}

TEST(ManifestTest, ATiedHeadMayBeStoredIfItIsTheSame) {
  ModelSpec spec = TinySpec();
  spec.tied_embeddings = true;
  std::vector<FileTensor> tensors = testing::TinyTensors(spec, {});
  FileTensor head = At(tensors, "model.embed_tokens.weight");
  head.name = "lm_head.weight";
  tensors.push_back(head);
  EXPECT_TRUE(Load(spec, tensors).manifest.ok());
  EXPECT_THAT(Refusal(
                  [&](auto& list) {
                    head.bytes[5] = static_cast<char>(head.bytes[5] ^ 1);
                    list.push_back(head);
                  },
                  spec),
              AllOf(HasSubstr("lm_head.weight"), HasSubstr("tie_word_embeddings")));
}

TEST(ManifestTest, VectorsMustBeFinite) {
  std::vector<FileTensor> tensors = testing::TinyTensors(TinySpec(), {});
  const float bad[] = {INFINITY, NAN};
  for (const float value : bad) {
    std::memcpy(At(tensors, "model.layers.1.mlp.expert_bias").bytes.data() + 12, &value, 4);
    const Loaded loaded = Load(TinySpec(), tensors);
    ASSERT_TRUE(loaded.manifest.ok()) << loaded.manifest.status();
    const auto vector =
        ReadVector(*loaded.checkpoint, loaded.manifest->router().layers[1].expert_bias);
    EXPECT_EQ(vector.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(vector.status().message()),
                AllOf(HasSubstr("model.layers.1.mlp.expert_bias"), HasSubstr("element 3")));
  }
}

}  // namespace
}  // namespace tessera
