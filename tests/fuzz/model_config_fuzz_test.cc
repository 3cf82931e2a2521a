// Broken config.json files: refused or read into a spec whose invariants hold, never a crash.

#include <gtest/gtest.h>

#include "common/json/json.h"
#include "common/model/model_config.h"
#include "tests/support/mutator.h"
#include "tests/support/tiny_model.h"

namespace tessera {
namespace {

std::string Golden(const std::string& file) {
  return testing::ReadFile(std::string(TESSERA_SOURCE_DIR) + "/tests/golden/" + file);
}

std::vector<std::string> Corpus() {
  ModelSpec quantized = testing::TinySpec();
  quantized.quantization = BlockQuantization{16, 16, {"lm_head", "re:.*self_attn.*"}};
  return {Golden("afmoe-tiny-f32/config.json"), Golden("afmoe-256x4-bf16/config.json"),
          testing::ConfigText(quantized)};
}

std::vector<std::string> Dictionary() {
  return {"null",
          "true",
          "\"",
          "[",
          "]",
          "{",
          "}",
          ":",
          ",",
          "-",
          "\\u0000",
          "\"rope_parameters\": {\"rope_theta\": 1},",
          "e9",
          "[[[[[[[[",
          "\"n_group\": 2,",
          "\"layer_types\": null,",
          "\xff",
          "\"sliding_attention\"",
          "\"head_dim\": 6,",
          "\"rope_theta\": null,"};
}

void ExpectSound(const ModelSpec& spec) {
  ASSERT_GT(spec.d_model, 0u);
  ASSERT_GT(spec.vocab, 0u);
  ASSERT_EQ(spec.layer_kinds.size(), spec.layer_count);
  ASSERT_LE(spec.dense_layer_count, spec.layer_count);
  ASSERT_GT(spec.kv_heads, 0u);
  ASSERT_EQ(spec.query_heads % spec.kv_heads, 0u);
  ASSERT_EQ(spec.head_dim % 2, 0u);
  ASSERT_GT(spec.norm_eps, 0.0f);
  ASSERT_GT(spec.rope_theta, 0.0);
  for (const LayerKind kind : spec.layer_kinds) {
    ASSERT_TRUE(kind == LayerKind::kFull || spec.sliding_window > 0);
  }
  if (spec.moe_layer_count() > 0) {
    ASSERT_GT(spec.top_k, 0u);
    ASSERT_LE(spec.top_k, spec.expert_count);
    ASSERT_GT(spec.expert_width, 0u);
  }
  for (const int32_t id : spec.eos_token_ids) ASSERT_LT(static_cast<size_t>(id), spec.vocab);
  ASSERT_GE(CountParameters(spec).total, CountParameters(spec).active);
}

TEST(ModelConfigFuzz, RefusedOrSound) {
  constexpr uint64_t kSeed = 20240611;
  const testing::Mutator mutator(kSeed, Corpus(), Dictionary());
  uint64_t accepted = 0, parsed = 0;
  const uint64_t rounds = testing::FuzzRounds(20000);
  for (uint64_t n = 0; n < rounds; ++n) {
    SCOPED_TRACE(::testing::Message() << "seed " << kSeed << ", input " << n);
    const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(mutator.At(n));
    if (!document.ok()) {
      ASSERT_EQ(document.status().code(), absl::StatusCode::kInvalidArgument);
      continue;
    }
    ++parsed;
    const absl::StatusOr<ModelSpec> spec = ParseModelSpec(document->root());
    if (spec.ok()) {
      ++accepted;
      ExpectSound(*spec);
    } else {
      ASSERT_EQ(spec.status().code(), absl::StatusCode::kInvalidArgument);
      ASSERT_FALSE(spec.status().message().empty());
    }
    if (HasFatalFailure()) return;
  }
  // The inputs reach every depth: no JSON, JSON that is no model, and models.
  EXPECT_GT(parsed, rounds / 20);
  EXPECT_LT(parsed, rounds);
  EXPECT_GT(accepted, rounds / 100);
  EXPECT_LT(accepted, parsed);
}

}  // namespace
}  // namespace tessera
