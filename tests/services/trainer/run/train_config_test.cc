#include "services/trainer/run/train_config.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/support/tiny_model.h"

namespace tessera::trainer {
namespace {

absl::StatusOr<TrainConfig> Parse(const std::string& rest) {
  const std::string text = absl::StrCat(R"({"steps": 10, "model": )",
                                        testing::ConfigText(testing::TinySpec()), rest, "}");
  const absl::StatusOr<JsonDocument> document = JsonDocument::Parse(text);
  EXPECT_TRUE(document.ok()) << document.status();
  return ParseTrainConfig(document->root());
}

TEST(TrainConfigTest, EveryKeyHasItsPlace) {
  const absl::StatusOr<TrainConfig> config = Parse(R"(, "seed": 7, "data": {"tokenizer": "t.json"},
      "batch": {"rows": 3, "row_tokens": 64, "buffer_documents": 9},
      "rates": {"muon": 0.5, "adam": 0.25, "warmup": 0.1, "decay": 0.3, "shape": "cosine",
                "weight_decay": 0.125},
      "loss": {"z": 0.5, "balance": 0.75, "clip_norm": 2},
      "balance": {"method": "sign", "rate": 0.3, "rate_end": 0.1, "momentum": 0.25,
                  "aux_weight": 0.6},
      "output": {"experts": "fp8", "checkpoint_every": 5})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->seed, 7u);
  EXPECT_EQ(config->packer.seed, 7u);
  EXPECT_EQ(config->tokenizer, "t.json");
  EXPECT_EQ(config->batch_rows, 3u);
  EXPECT_EQ(config->packer.row_tokens, 64u);
  EXPECT_EQ(config->packer.buffer_documents, 9u);
  EXPECT_EQ(config->optimizer.muon_rate, 0.5);
  EXPECT_EQ(config->optimizer.adam_rate, 0.25);
  EXPECT_EQ(config->optimizer.muon.weight_decay, 0.125);
  EXPECT_EQ(config->schedule.shape, DecayShape::kCosine);
  EXPECT_EQ(config->z_weight, 0.5);
  EXPECT_EQ(config->balance_weight, 0.75);
  EXPECT_EQ(config->optimizer.clip_norm, 2);
  EXPECT_EQ(config->balance.method, BalanceMethod::kSign);
  EXPECT_EQ(config->balance.rate_end, 0.1);
  EXPECT_EQ(config->experts, ExpertFormat::kFp8);
  EXPECT_EQ(config->checkpoint_every, 5u);
  EXPECT_NE(config->Fingerprint(), Parse("")->Fingerprint());
}

TEST(TrainConfigTest, WrongKeysAndValuesAreNamed) {
  for (const auto& [rest, named] : {std::pair{R"(, "batches": {})", "batches"},
                                    {R"(, "batch": {"row": 1})", "batch.row"},
                                    {R"(, "rates": {"muon": -1})", "rates.muon"},
                                    {R"(, "rates": {"shape": "square"})", "rates.shape"},
                                    {R"(, "balance": {"method": "magic"})", "magic"},
                                    {R"(, "output": {"experts": "int4"})", "int4"}}) {
    const absl::Status status = Parse(rest).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << rest;
    EXPECT_NE(status.message().find(named), std::string::npos) << status;
  }
}

}  // namespace
}  // namespace tessera::trainer
