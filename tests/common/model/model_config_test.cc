#include "common/model/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "absl/strings/str_cat.h"
#include "common/model/moe_layers.h"

namespace tessera {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A config.json as key -> JSON text, so that a test can change one key.
using Keys = std::map<std::string, std::string>;

Keys NanoKeys() {
  return {{"architectures", R"(["AfmoeForCausalLM"])"},
          {"model_type", R"("afmoe")"},
          {"hidden_size", "1024"},
          {"num_hidden_layers", "56"},
          {"num_dense_layers", "2"},
          {"num_attention_heads", "8"},
          {"num_key_value_heads", "2"},
          {"head_dim", "128"},
          {"intermediate_size", "3072"},
          {"moe_intermediate_size", "256"},
          {"num_experts", "128"},
          {"num_experts_per_tok", "8"},
          {"num_shared_experts", "1"},
          {"route_scale", "2.826"},
          {"route_norm", "true"},
          {"score_func", R"("sigmoid")"},
          {"sliding_window", "2048"},
          {"global_attn_every_n_layers", "4"},
          {"rope_theta", "10000"},
          {"rope_scaling", "null"},
          {"max_position_embeddings", "131072"},
          {"vocab_size", "200192"},
          {"rms_norm_eps", "1e-5"},
          {"hidden_act", R"("silu")"},
          {"n_group", "1"},
          {"topk_group", "1"},
          {"num_expert_groups", "1"},
          {"num_limited_groups", "1"},
          {"mup_enabled", "true"},
          {"tie_word_embeddings", "false"},
          {"bos_token_id", "0"},
          {"eos_token_id", "3"}};
}

Keys MiniKeys() {
  Keys keys = NanoKeys();
  for (auto [key, value] : Keys{{"hidden_size", "2048"},
                                {"num_hidden_layers", "32"},
                                {"num_attention_heads", "32"},
                                {"num_key_value_heads", "4"},
                                {"intermediate_size", "6144"},
                                {"moe_intermediate_size", "1024"}})
    keys[key] = value;
  return keys;
}

Keys LargeKeys() {
  Keys keys = NanoKeys();
  for (auto [key, value] : Keys{{"hidden_size", "3072"},
                                {"num_hidden_layers", "60"},
                                {"num_dense_layers", "6"},
                                {"num_attention_heads", "48"},
                                {"num_key_value_heads", "8"},
                                {"intermediate_size", "12288"},
                                {"moe_intermediate_size", "3072"},
                                {"num_experts", "256"},
                                {"num_experts_per_tok", "4"},
                                {"route_scale", "2.448"},
                                {"sliding_window", "4096"},
                                {"max_position_embeddings", "262144"}})
    keys[key] = value;
  return keys;
}

std::string ToText(const Keys& keys) {
  std::string text;
  for (const auto& [key, value] : keys)
    absl::StrAppend(&text, text.empty() ? "{" : ", ", "\"", key, "\": ", value);
  return text + "}";
}

absl::StatusOr<ModelSpec> Parse(const Keys& keys, const char* generation = nullptr) {
  const absl::StatusOr<JsonDocument> config = JsonDocument::Parse(ToText(keys));
  if (!config.ok()) return config.status();
  if (generation == nullptr) return ParseModelSpec(config->root());
  const absl::StatusOr<JsonDocument> second = JsonDocument::Parse(generation);
  if (!second.ok()) return second.status();
  return ParseModelSpec(config->root(), second->root());
}

ModelSpec MustParse(const Keys& keys) {
  absl::StatusOr<ModelSpec> spec = Parse(keys);
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? *spec : ModelSpec{};
}

// Nano with `changes` (an empty value removes the key) must be refused; returns the message.
std::string Refusal(const Keys& changes) {
  Keys keys = NanoKeys();
  for (const auto& [key, value] : changes) {
    if (value.empty()) {
      keys.erase(key);
    } else {
      keys[key] = value;
    }
  }
  const absl::StatusOr<ModelSpec> spec = Parse(keys);
  EXPECT_EQ(spec.status().code(), absl::StatusCode::kInvalidArgument) << ToText(changes);
  return std::string(spec.status().message());
}

ModelSpec NanoWith(const Keys& changes) {
  Keys keys = NanoKeys();
  for (const auto& [key, value] : changes) keys[key] = value;
  return MustParse(keys);
}

size_t CountFull(const ModelSpec& spec) {
  return static_cast<size_t>(
      std::count(spec.layer_kinds.begin(), spec.layer_kinds.end(), LayerKind::kFull));
}

TEST(ModelConfigTest, ReadsNano) {
  const ModelSpec spec = MustParse(NanoKeys());
  EXPECT_EQ(spec.d_model, 1024u);
  EXPECT_EQ(spec.layer_count, 56u);
  EXPECT_EQ(spec.dense_layer_count, 2u);
  EXPECT_EQ(spec.query_heads, 8u);
  EXPECT_EQ(spec.kv_heads, 2u);
  EXPECT_EQ(spec.head_dim, 128u);
  EXPECT_EQ(spec.dense_width, 3072u);
  EXPECT_EQ(spec.expert_width, 256u);
  EXPECT_EQ(spec.expert_count, 128u);
  EXPECT_EQ(spec.top_k, 8u);
  EXPECT_EQ(spec.shared_expert_count, 1u);
  EXPECT_EQ(spec.vocab, 200192u);
  EXPECT_EQ(spec.context_max, 131072u);
  EXPECT_EQ(spec.sliding_window, 2048u);
  EXPECT_EQ(spec.rope_theta, 10000.0);
  EXPECT_EQ(spec.norm_eps, 1e-5f);
  EXPECT_EQ(spec.route_scale, 2.826f);
  EXPECT_TRUE(spec.route_normalize);
  EXPECT_TRUE(spec.embedding_scaled);
  EXPECT_FALSE(spec.tied_embeddings);
  EXPECT_FALSE(spec.quantization.has_value());
  EXPECT_THAT(spec.eos_token_ids, ElementsAre(3));
  EXPECT_EQ(spec.bos_token_id, 0);
  EXPECT_EQ(CountFull(spec), 14u);
  EXPECT_EQ(spec.layer_kinds[3], LayerKind::kFull);
  EXPECT_EQ(spec.layer_kinds[4], LayerKind::kSliding);
}

// Totals published for the three sizes.
TEST(ModelConfigTest, ParametersOfEverySize) {
  EXPECT_EQ(CountParameters(MustParse(NanoKeys())).total, 6120003328u);
  EXPECT_EQ(CountParameters(MustParse(MiniKeys())).total, 26123974400u);
  EXPECT_EQ(CountParameters(MustParse(LargeKeys())).total, 398635286016u);
  EXPECT_NEAR(CountParameters(MustParse(NanoKeys())).active * 1e-9, 1.02, 0.005);
  EXPECT_NEAR(CountParameters(MustParse(MiniKeys())).active * 1e-9, 3.47, 0.005);
  EXPECT_NEAR(CountParameters(MustParse(LargeKeys())).active * 1e-9, 13.37, 0.005);
  EXPECT_EQ(MustParse(LargeKeys()).route_scale, 2.448f);
  EXPECT_EQ(CountFull(MustParse(LargeKeys())), 15u);
  EXPECT_EQ(CountFull(MustParse(MiniKeys())), 8u);
}

TEST(ModelConfigTest, ReadsTheGoldenConfigs) {
  const std::string golden = std::string(TESSERA_SOURCE_DIR) + "/tests/golden/";
  const absl::StatusOr<ModelSpec> tiny = ReadModelSpec(golden + "afmoe-tiny-f32");
  ASSERT_TRUE(tiny.ok()) << tiny.status();
  EXPECT_EQ(tiny->head_dim, 16u);
  EXPECT_EQ(tiny->sliding_window, 8u);
  EXPECT_EQ(CountFull(*tiny), 1u);
  const absl::StatusOr<ModelSpec> wide = ReadModelSpec(golden + "afmoe-256x4-bf16");
  ASSERT_TRUE(wide.ok()) << wide.status();
  EXPECT_EQ(wide->expert_count, 256u);
  EXPECT_EQ(wide->top_k, 4u);
}

TEST(ModelConfigTest, RopeParametersReplaceRopeTheta) {
  Keys keys = NanoKeys();
  keys.erase("rope_theta");
  keys["rope_parameters"] = R"({"rope_type": "default", "rope_theta": 500000.0})";
  EXPECT_EQ(MustParse(keys).rope_theta, 500000.0);
  EXPECT_EQ(NanoWith({{"rope_scaling", R"({"type": "default"})"}}).rope_theta, 10000.0);
}

TEST(ModelConfigTest, UnusualShapes) {
  EXPECT_TRUE(NanoWith({{"tie_word_embeddings", "true"}}).tied_embeddings);
  EXPECT_EQ(NanoWith({{"num_shared_experts", "3"}}).shared_width(), 768u);
  EXPECT_EQ(NanoWith({{"num_shared_experts", "0"}}).shared_width(), 0u);
  EXPECT_EQ(NanoWith({{"num_dense_layers", "0"}}).moe_layer_count(), 56u);
  EXPECT_EQ(NanoWith({{"num_dense_layers", "56"}}).moe_layer_count(), 0u);
  EXPECT_TRUE(MoeLayers(NanoWith({{"num_dense_layers", "56"}})).empty());
  const std::vector<LayerIndex> last = MoeLayers(NanoWith({{"num_dense_layers", "54"}}));
  EXPECT_EQ(last, (std::vector<LayerIndex>{LayerIndex{54}, LayerIndex{55}}));
  EXPECT_EQ(NanoWith({{"num_key_value_heads", "8"}}).kv_heads, 8u);
  EXPECT_EQ(NanoWith({{"head_dim", "24"}}).query_width(), 192u);
  EXPECT_FALSE(NanoWith({{"route_norm", "false"}}).route_normalize);
  EXPECT_FALSE(NanoWith({{"mup_enabled", "false"}}).embedding_scaled);
  EXPECT_EQ(CountFull(NanoWith({{"global_attn_every_n_layers", "1"}})), 56u);
}

TEST(ModelConfigTest, ExplicitLayerTypesWin) {
  const ModelSpec spec =
      NanoWith({{"num_hidden_layers", "3"},
                {"layer_types", R"(["full_attention", "sliding_attention", "full_attention"])"}});
  EXPECT_THAT(spec.layer_kinds,
              ElementsAre(LayerKind::kFull, LayerKind::kSliding, LayerKind::kFull));
  EXPECT_EQ(CountFull(NanoWith({{"layer_types", "null"}})), 14u);
}

TEST(ModelConfigTest, EndTokensOfBothFiles) {
  Keys keys = NanoKeys();
  keys["eos_token_id"] = "[3, 12]";
  const absl::StatusOr<ModelSpec> spec = Parse(keys, R"({"eos_token_id": [7, 3]})");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_THAT(spec->eos_token_ids, ElementsAre(3, 12, 7));
  keys.erase("eos_token_id");
  EXPECT_TRUE(MustParse(keys).eos_token_ids.empty());
  EXPECT_THAT(Parse(keys, R"({"eos_token_id": 3})")->eos_token_ids, ElementsAre(3));
  EXPECT_THAT(std::string(Parse(keys, R"({"eos_token_id": "3"})").status().message()),
              HasSubstr("generation_config.json: eos_token_id: found string '3'"));
  EXPECT_FALSE(Parse(keys, "[]").ok());
}

constexpr char kBlockFp8[] = R"({
  "quant_method": "compressed-tensors", "format": "float-quantized",
  "config_groups": {"group_0": {"targets": ["Linear"],
    "weights": {"type": "float", "num_bits": 8, "strategy": "block",
                "block_structure": [128, 64], "symmetric": true, "dynamic": false},
    "input_activations": {"type": "float", "num_bits": 8, "strategy": "group",
                          "group_size": 128, "dynamic": true, "symmetric": true}}},
  "ignore": ["lm_head", "re:.*self_attn.*"]})";

std::string BlockFp8With(const std::string& from, const std::string& to) {
  std::string text = kBlockFp8;
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ModelConfigTest, BlockQuantization) {
  const ModelSpec spec = NanoWith({{"quantization_config", kBlockFp8}});
  ASSERT_TRUE(spec.quantization.has_value());
  EXPECT_EQ(spec.quantization->block_rows, 128u);
  EXPECT_EQ(spec.quantization->block_cols, 64u);
  EXPECT_THAT(spec.quantization->ignored, ElementsAre("lm_head", "re:.*self_attn.*"));
  EXPECT_FALSE(NanoWith({{"quantization_config", "null"}}).quantization.has_value());
}

TEST(ModelConfigTest, OtherQuantizationIsRefusedByName) {
  const auto refusal = [](const std::string& from, const std::string& to) {
    return Refusal({{"quantization_config", BlockFp8With(from, to)}});
  };
  EXPECT_THAT(refusal("compressed-tensors", "modelopt"),
              HasSubstr("quantization_config.quant_method: found string 'modelopt'"));
  EXPECT_THAT(refusal("float-quantized", "pack-quantized"), HasSubstr("'pack-quantized'"));
  EXPECT_THAT(refusal("\"num_bits\": 8", "\"num_bits\": 4"), HasSubstr("num_bits: found number 4"));
  EXPECT_THAT(refusal("\"block\"", "\"channel\""), HasSubstr("strategy: found string 'channel'"));
  EXPECT_THAT(refusal("[128, 64]", "[128, 0]"), HasSubstr("block_structure[1]"));
  EXPECT_THAT(refusal("[128, 64]", "128"), HasSubstr("two numbers"));
  EXPECT_THAT(refusal("\"symmetric\": true", "\"symmetric\": false"), HasSubstr("symmetric"));
  EXPECT_THAT(refusal("\"weights\"", "\"w\""), HasSubstr("weights is missing"));
  EXPECT_THAT(refusal("[\"lm_head\", \"re:.*self_attn.*\"]", "[1]"), HasSubstr("ignore[0]"));
  EXPECT_THAT(Refusal({{"quantization_config", "{}"}}), HasSubstr("quant_method is missing"));
  EXPECT_THAT(Refusal({{"quantization_config", "[]"}}), HasSubstr("expected an object"));
}

TEST(ModelConfigTest, EveryShapeKeyIsRequired) {
  for (const char* key : {"model_type",
                          "hidden_size",
                          "num_hidden_layers",
                          "num_dense_layers",
                          "num_attention_heads",
                          "num_key_value_heads",
                          "head_dim",
                          "intermediate_size",
                          "moe_intermediate_size",
                          "num_experts",
                          "num_experts_per_tok",
                          "num_shared_experts",
                          "route_scale",
                          "sliding_window",
                          "global_attn_every_n_layers",
                          "rope_theta",
                          "max_position_embeddings",
                          "vocab_size",
                          "rms_norm_eps",
                          "mup_enabled"}) {
    EXPECT_THAT(Refusal({{key, ""}}), AllOf(HasSubstr("config.json"), HasSubstr(key)));
  }
}

TEST(ModelConfigTest, NumbersOutOfRangeAreRefused) {
  for (const char* key :
       {"hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "head_dim", "intermediate_size", "moe_intermediate_size", "num_experts",
        "num_experts_per_tok", "sliding_window", "global_attn_every_n_layers",
        "max_position_embeddings", "vocab_size"}) {
    for (const char* value : {"0", "-1", "1e30", "18446744073709551615", "4294967296", "1.5",
                              "\"8\"", "null", "[8]", "true"}) {
      EXPECT_THAT(Refusal({{key, value}}), HasSubstr(key));
    }
  }
  for (const char* key : {"route_scale", "rope_theta", "rms_norm_eps"}) {
    for (const char* value : {"0", "-0.5", "1e-308", "1e300", "\"1\""})
      EXPECT_THAT(Refusal({{key, value}}), HasSubstr(key));
  }
  for (const char* value : {"NaN", "Infinity", "1e999"})
    EXPECT_THAT(Refusal({{"rms_norm_eps", value}}), HasSubstr("JSON"));
}

TEST(ModelConfigTest, ContradictionsAreRefused) {
  EXPECT_THAT(Refusal({{"num_key_value_heads", "3"}}),
              HasSubstr("found number 3; expected a divisor of num_attention_heads, 8"));
  EXPECT_THAT(Refusal({{"head_dim", "127"}}), HasSubstr("an even number"));
  EXPECT_THAT(Refusal({{"num_experts_per_tok", "129"}}), HasSubstr("from 1 to 128"));
  EXPECT_THAT(Refusal({{"num_dense_layers", "57"}}), HasSubstr("from 0 to 56"));
  EXPECT_THAT(Refusal({{"layer_types", R"(["full_attention"])"}}), HasSubstr("56, entries"));
  EXPECT_THAT(Refusal({{"num_hidden_layers", "2"}, {"layer_types", R"(["full_attention", "x"])"}}),
              HasSubstr("layer_types[1]: found string 'x'"));
  EXPECT_THAT(Refusal({{"rope_parameters", R"({"rope_theta": 7.0})"}}),
              HasSubstr("the same number as rope_theta"));
  EXPECT_THAT(Refusal({{"eos_token_id", "200192"}}), HasSubstr("from 0 to 200191"));
  EXPECT_THAT(Refusal({{"eos_token_id", "[1, -1]"}}), HasSubstr("eos_token_id[1]"));
  EXPECT_THAT(Refusal({{"bos_token_id", "\"0\""}}), HasSubstr("bos_token_id"));
}

TEST(ModelConfigTest, WhatIsNotComputedIsRefused) {
  EXPECT_THAT(Refusal({{"model_type", R"("llama")"}}), HasSubstr("'llama'; expected 'afmoe'"));
  EXPECT_THAT(Refusal({{"hidden_act", R"("gelu")"}}), HasSubstr("hidden_act"));
  EXPECT_THAT(Refusal({{"score_func", R"("softmax")"}}), HasSubstr("score_func"));
  EXPECT_THAT(Refusal({{"n_group", "2"}}), HasSubstr("n_group: found number 2; expected 1"));
  EXPECT_THAT(Refusal({{"topk_group", "4"}}), HasSubstr("topk_group"));
  EXPECT_THAT(Refusal({{"attention_bias", "true"}}), HasSubstr("attention_bias"));
  EXPECT_THAT(Refusal({{"rope_scaling", R"({"rope_type": "yarn", "factor": 4})"}}),
              HasSubstr("rope_scaling.rope_type: found string 'yarn'"));
  EXPECT_THAT(Refusal({{"rope_parameters", R"({"rope_type": "llama3", "rope_theta": 1e4})"}}),
              HasSubstr("rope_parameters.rope_type"));
  EXPECT_THAT(Refusal({{"rope_scaling", "2"}}), HasSubstr("expected an object"));
}

TEST(ModelConfigTest, RowsBehindTheTokenizersIdsArePadding) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / absl::StrCat("token_count_test_", getpid());
  std::filesystem::create_directories(folder);
  const auto count = [&](const std::string& tokenizer) {
    std::ofstream(folder / "tokenizer.json") << tokenizer;
    return ReadTokenCount(folder.string(), 100);
  };
  EXPECT_EQ(*ReadTokenCount(folder.string(), 100), 100u) << "there is none";
  EXPECT_EQ(*count(R"({"model": {"vocab": {"a": 0, "b": 41, "c": 7}}, "added_tokens": []})"), 42u);
  EXPECT_EQ(*count(R"({"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 90}]})"), 91u);
  EXPECT_EQ(*count(R"({"model": {"vocab": {"a": 500}}})"), 100u);
  EXPECT_EQ(*count(R"({"model": {"type": "Unigram", "vocab": [["a", 0.5]]}})"), 100u);
  EXPECT_THAT(std::string(count(R"({"model": {"vocab": {"a": -1}}})").status().message()),
              AllOf(HasSubstr("tokenizer.json"), HasSubstr("model.vocab.a")));
  EXPECT_FALSE(count("{").ok());
  std::filesystem::remove_all(folder);
}

TEST(ModelConfigTest, FilesAreNamed) {
  const std::filesystem::path root =
      std::filesystem::path(::testing::TempDir()) / ("model_config_" + std::to_string(getpid()));
  std::filesystem::create_directories(root);
  EXPECT_EQ(ReadModelSpec(root / "absent").status().code(), absl::StatusCode::kNotFound);
  std::ofstream(root / "config.json") << "{\"hidden_size\": NaN}";
  EXPECT_THAT(std::string(ReadModelSpec(root).status().message()),
              AllOf(HasSubstr((root / "config.json").string()), HasSubstr("line 1")));
  std::ofstream(root / "config.json") << ToText(NanoKeys());
  EXPECT_TRUE(ReadModelSpec(root).ok());
  std::ofstream(root / "generation_config.json") << "{\"eos_token_id\": -4}";
  EXPECT_THAT(std::string(ReadModelSpec(root).status().message()),
              AllOf(HasSubstr(root.string()), HasSubstr("generation_config.json: eos_token_id")));
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace tessera
