#include "services/trainer/run/train_config.h"

#include <gtest/gtest.h>

#include <tuple>

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
      "output": {"experts": "fp8", "checkpoint_every": 5},
      "corpus": {"shares": {"faq": 0.25, "arithmetic": 0.25, "tools": 0.5, "recall": 0,
                            "talk": 0, "text": 0},
                 "subtract": 0.25, "compares": true, "more_frames": true})");
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
  EXPECT_EQ(config->phases[0].schedule.shape, DecayShape::kCosine);
  EXPECT_EQ(config->z_weight, 0.5);
  EXPECT_EQ(config->phases[0].balance_weight, 0.75);
  EXPECT_EQ(config->optimizer.clip_norm, 2);
  EXPECT_EQ(config->balance.method, BalanceMethod::kSign);
  EXPECT_EQ(config->phases[0].balance_rate_end, 0.1);
  EXPECT_EQ(config->experts, ExpertFormat::kFp8);
  EXPECT_EQ(config->checkpoint_every, 5u);
  EXPECT_EQ(config->phases[0].course, (Course{.shares = {0.25, 0.25, 0.5, 0, 0, 0},
                                              .subtract = 0.25,
                                              .compares = true,
                                              .more_frames = true}));
  EXPECT_EQ(config->steps(), 10u);
  EXPECT_NE(config->Identity(10).config, Parse("")->Identity(10).config);
}

constexpr const char* kPhases = R"(, "balance": {"rate": 0.5, "rate_end": 0.25}, "phases": [
    {"steps": 20, "rate": 0.5, "warmup": 0.1, "decay": 0.75, "shape": "cosine",
     "balance": {"rate": 0.4, "rate_end": 0.125, "loss": 0.0625}, "corpus": {"compares": true}},
    {"steps": 5, "settles": true}])";

TEST(TrainConfigTest, APhaseGoesOnWhereTheOneBeforeEnded) {
  const absl::StatusOr<TrainConfig> config = Parse(kPhases);
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->phases.size(), 3u);
  const Phase& middle = config->phases[1];
  EXPECT_EQ(middle.schedule.steps, 20u);
  EXPECT_EQ(middle.schedule.warmup, 0.1);
  EXPECT_EQ(middle.schedule.decay, 0.75);
  EXPECT_EQ(middle.schedule.shape, DecayShape::kCosine);
  EXPECT_EQ(middle.rate, 0.5);
  EXPECT_EQ(middle.balance_rate, 0.4);
  EXPECT_EQ(middle.balance_weight, 0.0625);
  EXPECT_TRUE(middle.course.compares);
  EXPECT_FALSE(middle.settles);
  const Phase& last = config->phases[2];
  EXPECT_TRUE(last.settles);
  EXPECT_EQ(last.balance_rate, 0.125);
  EXPECT_EQ(last.balance_rate_end, 0.125);
  EXPECT_EQ(last.balance_weight, 0.0625);
  EXPECT_EQ(last.course, middle.course);
  EXPECT_EQ(config->steps(), 35u);
  for (const auto& [step, phase, of_phase] :
       {std::tuple{1, 0, 1}, {10, 0, 10}, {11, 1, 1}, {30, 1, 20}, {31, 2, 1}, {35, 2, 5}}) {
    const PhaseStep place = config->PhaseOf(static_cast<uint64_t>(step));
    EXPECT_EQ(place.phase, static_cast<size_t>(phase)) << step;
    EXPECT_EQ(place.step, static_cast<uint64_t>(of_phase)) << step;
  }
}

// Up to the end of what both have, a run and a longer one are the same run.
TEST(TrainConfigTest, IdentityIsThatOfThePhasesBegun) {
  TrainConfig longer = *Parse(kPhases), first = longer, two = longer;
  for (size_t i = 0; i < longer.phases.size(); ++i) {
    longer.phases[i].data_identity = "corpus " + std::to_string(i);
  }
  first.phases.resize(1);
  two.phases.resize(2);
  EXPECT_EQ(longer.Identity(0).config, first.Identity(0).config);
  EXPECT_EQ(longer.Identity(10).config, first.Identity(10).config);
  EXPECT_NE(longer.Identity(11).config, first.Identity(10).config);
  EXPECT_EQ(longer.Identity(30).config, two.Identity(30).config);
  EXPECT_NE(longer.Identity(31).config, two.Identity(30).config);
  EXPECT_EQ(longer.Identity(10).data, "corpus 0");
  EXPECT_EQ(longer.Identity(35).data, "corpus 0, corpus 1, corpus 2");
  EXPECT_EQ(first.Identity(10).data, "");
  // A run that settles depends on what it is rounded to; no other does.
  TrainConfig fp8 = longer;
  fp8.experts = ExpertFormat::kFp8;
  EXPECT_EQ(longer.Identity(30).config, fp8.Identity(30).config);
  EXPECT_NE(longer.Identity(31).config, fp8.Identity(31).config);
}

TEST(TrainConfigTest, WrongKeysAndValuesAreNamed) {
  for (const auto& [rest, named] : {std::pair{R"(, "batches": {})", "batches"},
                                    {R"(, "batch": {"row": 1})", "batch.row"},
                                    {R"(, "rates": {"muon": -1})", "rates.muon"},
                                    {R"(, "rates": {"shape": "square"})", "rates.shape"},
                                    {R"(, "balance": {"method": "magic"})", "magic"},
                                    {R"(, "phases": {})", "phases"},
                                    {R"(, "phases": [{}])", "key steps is missing"},
                                    {R"(, "phases": [{"steps": 1, "muon": 1}])", "phases[0].muon"},
                                    {R"(, "corpus": {"shares": {"faq": 1}})", "add up to 1"},
                                    {R"(, "corpus": {"shares": {"fag": 1}})", "faq, arithmetic"},
                                    {R"(, "corpus": {"compares": 1})", "corpus.compares"},
                                    {R"(, "output": {"experts": "int4"})", "int4"}}) {
    const absl::Status status = Parse(rest).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << rest;
    EXPECT_NE(status.message().find(named), std::string::npos) << status;
  }
}

}  // namespace
}  // namespace tessera::trainer
