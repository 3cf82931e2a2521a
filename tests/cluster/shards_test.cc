// The experts leave home: the reference's logits and tokens through shards, on every transport, and
// in strict mode the same bits whatever their number.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "services/cli/local_engine.h"
#include "services/cli/remote/remote_experts.h"
#include "tests/support/golden_run.h"

namespace tessera {
namespace {

using cli::ComputeOptions;
using cli::LocalEngine;
using testing::CollectingSink;
using testing::Golden;
using testing::GoldenRun;

constexpr float kTolerance = 1e-3f;

// All prompts, together in the same steps.
GoldenRun RunAll(const Golden& golden, const ComputeOptions& compute) {
  const RealClock clock;
  CollectingSink sink;
  const auto engine = LocalEngine::Create(
      golden.model_dir, compute, {.context_max = 256, .sequence_count = golden.prompts.size()},
      sink, clock, {}, &cli::StartRemoteExperts);
  EXPECT_TRUE(engine.ok()) << engine.status();
  if (!engine.ok()) return {};
  return testing::RunGolden(golden, **engine, sink);
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
    const GoldenRun outcome = RunAll(golden_, Options(shards, /*strict=*/false));
    EXPECT_LE(WorstError(outcome, golden_), kTolerance) << shards << " shards";
    ASSERT_EQ(outcome.tokens.size(), golden_.prompts.size());
    for (size_t i = 0; i < golden_.prompts.size(); ++i) {
      EXPECT_EQ(outcome.tokens[i], golden_.prompts[i].greedy) << shards << " shards, prompt " << i;
    }
  }
}

TEST_P(ShardsTest, StrictBitsDoNotDependOnTheNumberOfShards) {
  for (const char* precision : {"float32", "fast"}) {
    const GoldenRun here = RunAll(golden_, Options(0, /*strict=*/true, precision));
    ASSERT_FALSE(here.logits.empty());
    for (const size_t shards : {1u, 2u, 3u, 7u}) {
      const GoldenRun there = RunAll(golden_, Options(shards, /*strict=*/true, precision));
      EXPECT_TRUE(there.logits == here.logits) << shards << " shards, " << precision;
      EXPECT_EQ(there.tokens, here.tokens);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Transports, ShardsTest,
    ::testing::Values(Way{"afmoe-tiny-f32", "loopback"}, Way{"afmoe-tiny-f32", "shm"},
                      Way{"afmoe-tiny-f32", "ucx"}, Way{"afmoe-tiny-f32", "grpc"},
                      Way{"afmoe-256x4-bf16", "ucx"}),
    [](const ::testing::TestParamInfo<Way>& info) {
      return testing::TestName(absl::StrCat(info.param.model, "_", info.param.transport));
    });

}  // namespace
}  // namespace tessera
