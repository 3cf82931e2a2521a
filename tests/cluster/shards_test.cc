// The experts leave home: the reference's logits and tokens through shards, on every transport, and
// in strict mode the same bits whatever their number.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "services/cli/local_engine.h"
#include "services/cli/remote/remote_experts.h"
#include "tests/support/collecting_sink.h"
#include "tests/support/golden.h"

namespace tessera {
namespace {

using cli::ComputeOptions;
using cli::LocalEngine;
using testing::CollectingSink;
using testing::Golden;
using testing::GoldenPrompt;

constexpr float kTolerance = 1e-3f;

using Logits = std::vector<std::vector<std::vector<float>>>;  // [prompts][tokens][vocab]

struct Outcome {
  Logits logits;
  std::vector<std::vector<TokenId>> tokens;  // [prompts]
};

// All prompts, together in the same steps.
Outcome RunAll(const Golden& golden, const ComputeOptions& compute) {
  const RealClock clock;
  CollectingSink sink;
  const auto engine = LocalEngine::Create(
      golden.model_dir, compute, {.context_max = 256, .sequence_count = golden.prompts.size()},
      sink, clock, {}, &cli::StartRemoteExperts);
  EXPECT_TRUE(engine.ok()) << engine.status();
  if (!engine.ok()) return {};
  for (size_t i = 0; i < golden.prompts.size(); ++i) {
    const GoldenPrompt& prompt = golden.prompts[i];
    router::SequenceRequest request;
    request.id = SequenceId{i};
    request.prompt = prompt.ids;
    request.sampling.temperature = 0;
    request.sampling.max_tokens = static_cast<uint32_t>(prompt.greedy.size());
    request.sampling.ignore_eos = true;
    request.wants_prompt_logits = true;
    EXPECT_TRUE(
        (*engine)->scheduler().Submit(std::make_unique<router::Sequence>(std::move(request))).ok());
  }
  while (!(*engine)->scheduler().idle()) {
    const absl::Status status = (*engine)->Step();
    EXPECT_TRUE(status.ok()) << status;
    if (!status.ok()) return {};
  }
  Outcome outcome;
  for (size_t i = 0; i < golden.prompts.size(); ++i) {
    outcome.logits.push_back(sink.of(i).logits);
    outcome.tokens.push_back(sink.of(i).tokens);
  }
  return outcome;
}

float WorstError(const Golden& golden, const Outcome& outcome) {
  float worst = 0;
  for (size_t i = 0; i < golden.prompts.size(); ++i) {
    if (i >= outcome.logits.size()) return INFINITY;
    const auto& expected = golden.prompts[i].logits;
    if (outcome.logits[i].size() != expected.size()) return INFINITY;
    for (size_t t = 0; t < expected.size(); ++t) {
      for (size_t v = 0; v < expected[t].size(); ++v) {
        worst = std::max(worst, std::fabs(outcome.logits[i][t][v] - expected[t][v]));
      }
    }
  }
  return worst;
}

struct Way {
  const char* model;
  const char* transport;
};

class ShardsTest : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    absl::StatusOr<Golden> golden = testing::ReadGolden(GetParam().model);
    ASSERT_TRUE(golden.ok()) << golden.status();
    golden_ = *std::move(golden);
  }
  ComputeOptions Options(size_t shards, bool strict, const std::string& precision = "float32") {
    return {.threads = 2,
            .precision = precision,
            .shards = shards,
            .transport = GetParam().transport,
            .strict = strict};
  }
  Golden golden_;
};

TEST_P(ShardsTest, GoldenLogitsThroughAnyNumberOfShards) {
  for (const size_t shards : {1u, 2u, 3u, 7u}) {
    const Outcome outcome = RunAll(golden_, Options(shards, /*strict=*/false));
    EXPECT_LE(WorstError(golden_, outcome), kTolerance) << shards << " shards";
    ASSERT_EQ(outcome.tokens.size(), golden_.prompts.size());
    for (size_t i = 0; i < golden_.prompts.size(); ++i) {
      EXPECT_EQ(outcome.tokens[i], golden_.prompts[i].greedy) << shards << " shards, prompt " << i;
    }
  }
}

TEST_P(ShardsTest, StrictBitsDoNotDependOnTheNumberOfShards) {
  for (const char* precision : {"float32", "fast"}) {
    const Outcome here = RunAll(golden_, Options(0, /*strict=*/true, precision));
    ASSERT_FALSE(here.logits.empty());
    for (const size_t shards : {1u, 2u, 3u, 7u}) {
      const Outcome there = RunAll(golden_, Options(shards, /*strict=*/true, precision));
      EXPECT_TRUE(there.logits == here.logits) << shards << " shards, " << precision;
      EXPECT_EQ(there.tokens, here.tokens);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Transports, ShardsTest,
    ::testing::Values(Way{"afmoe-tiny-f32", "loopback"}, Way{"afmoe-tiny-f32", "ucx"},
                      Way{"afmoe-tiny-f32", "grpc"}, Way{"afmoe-256x4-bf16", "ucx"}),
    [](const ::testing::TestParamInfo<Way>& info) {
      std::string name = absl::StrCat(info.param.model, "_", info.param.transport);
      std::ranges::replace(name, '-', '_');
      return name;
    });

}  // namespace
}  // namespace tessera
