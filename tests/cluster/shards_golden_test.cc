// The reference's logits through shards of this process, over every way of moving frames; in strict
// mode the same bits whatever the number of shards. Two routers use each pool.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/cli/local_engine.h"
#include "tests/support/collecting_sink.h"
#include "tests/support/golden.h"
#include "tests/support/test_cluster.h"

namespace tessera {
namespace {

using testing::CollectingSink;
using testing::EventReader;
using testing::Golden;
using testing::GoldenPrompt;
using testing::GreedyRequest;
using testing::TestCluster;
using testing::TestRouter;
using testing::TestRouterOptions;

constexpr float kTolerance = 1e-3f;

using Logits = std::vector<std::vector<std::vector<float>>>;  // [prompts][positions][vocab]

struct Outcome {
  Logits logits;
  std::vector<std::vector<TokenId>> tokens;  // [prompts]
};

// All prompts together, by whatever schedules and steps.
template <typename Engine>
Outcome Compute(const Golden& golden, Engine& engine, CollectingSink& sink) {
  for (size_t i = 0; i < golden.prompts.size(); ++i) {
    router::SequenceRequest request;
    request.id = SequenceId{i};
    request.prompt = golden.prompts[i].ids;
    request.sampling.temperature = 0;
    request.sampling.max_tokens = static_cast<uint32_t>(golden.prompts[i].greedy.size());
    request.sampling.ignore_eos = true;
    request.wants_prompt_logits = true;
    request.uses_prefix_cache = false;
    const absl::Status taken =
        engine.scheduler().Submit(std::make_unique<router::Sequence>(std::move(request)));
    EXPECT_TRUE(taken.ok()) << taken;
  }
  while (!engine.scheduler().idle()) {
    const absl::Status status = engine.Step();
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
    const auto& expected = golden.prompts[i].logits;
    if (i >= outcome.logits.size() || outcome.logits[i].size() != expected.size()) return INFINITY;
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
  const char* scheme;
};

class ShardsGoldenTest : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    absl::StatusOr<Golden> golden = testing::ReadGolden(GetParam().model);
    ASSERT_TRUE(golden.ok()) << golden.status();
    golden_ = *std::move(golden);
  }
  // Strict, in float32, with the experts in this engine.
  Outcome ComputeHere() {
    CollectingSink sink;
    auto engine = cli::LocalEngine::Create(
        golden_.model_dir, {.threads = 1, .precision = "float32", .strict = true},
        {.context_max = 256, .sequence_count = golden_.prompts.size()}, sink, clock_, {});
    EXPECT_TRUE(engine.ok()) << engine.status();
    return engine.ok() ? Compute(golden_, **engine, sink) : Outcome{};
  }
  void ExpectGolden(const Outcome& outcome) {
    EXPECT_LE(WorstError(golden_, outcome), kTolerance);
    for (size_t i = 0; i < outcome.tokens.size(); ++i) {
      EXPECT_EQ(outcome.tokens[i], golden_.prompts[i].greedy) << "prompt " << i;
    }
  }

  const RealClock clock_;
  Golden golden_;
};

INSTANTIATE_TEST_SUITE_P(
    Ways, ShardsGoldenTest,
    ::testing::Values(Way{"afmoe-tiny-f32", "loopback"}, Way{"afmoe-tiny-f32", "ucx"},
                      Way{"afmoe-tiny-f32", "grpc"}, Way{"afmoe-256x4-bf16", "loopback"},
                      Way{"afmoe-256x4-bf16", "ucx"}, Way{"afmoe-256x4-bf16", "grpc"}),
    [](const ::testing::TestParamInfo<Way>& info) {
      std::string name = absl::StrCat(info.param.model, "_", info.param.scheme);
      std::ranges::replace(name, '-', '_');
      return name;
    });

TEST_P(ShardsGoldenTest, AnyNumberOfShards) {
  const Outcome here = ComputeHere();
  ExpectGolden(here);
  for (const uint32_t shards : {1u, 2u, 3u, 7u}) {
    SCOPED_TRACE(absl::StrCat(shards, " shards"));
    CollectingSink sink;
    auto cluster = TestCluster::Start(
        golden_.model_dir,
        {.shard_count = shards, .router = {.data_scheme = GetParam().scheme, .sink = &sink}});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    ExpectGolden(Compute(golden_, (*cluster)->router(), sink));

    CollectingSink strict_sink;
    auto strict = (*cluster)->StartFollower({.dispatch = {.strict = true}, .sink = &strict_sink});
    ASSERT_TRUE(strict.ok()) << strict.status();
    const Outcome there = Compute(golden_, **strict, strict_sink);
    EXPECT_TRUE(there.logits == here.logits) << "not the same bits";
    EXPECT_EQ(there.tokens, here.tokens);
    for (uint32_t shard = 0; shard < shards; ++shard) {
      EXPECT_GT((*strict)->OfShard("tessera_router_shard_rows_total", shard), 0) << shard;
    }
  }
}

// Rows travel as bfloat16 here, so the experts of one process compute something else.
TEST_P(ShardsGoldenTest, StrictBitsInFastArithmetic) {
  std::optional<Outcome> first;
  for (const uint32_t shards : {1u, 7u}) {
    CollectingSink sink;
    auto cluster =
        TestCluster::Start(golden_.model_dir, {.shard_count = shards,
                                               .router = {.data_scheme = GetParam().scheme,
                                                          .precision = "fast",
                                                          .dispatch = {.strict = true},
                                                          .sink = &sink}});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    const Outcome there = Compute(golden_, (*cluster)->router(), sink);
    if (!first) first = there;
    EXPECT_FALSE(there.logits.empty());
    EXPECT_TRUE(there.logits == first->logits) << shards << " shards";
    EXPECT_EQ(there.tokens, first->tokens);
  }
}

TEST_P(ShardsGoldenTest, TwoRoutersAtTheSameTime) {
  auto cluster = TestCluster::Start(
      golden_.model_dir, {.shard_count = 2, .router = {.data_scheme = GetParam().scheme}});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  auto follower = (*cluster)->StartFollower({});
  ASSERT_TRUE(follower.ok()) << follower.status();
  TestRouter* const routers[] = {&(*cluster)->router(), follower->get()};
  // More than one credit's worth from each; then one shard goes under both.
  for (const bool loss : {false, true}) {
    std::vector<std::shared_ptr<EventReader>> readers;
    for (size_t i = 0; i < 4 * golden_.prompts.size(); ++i) {
      const GoldenPrompt& prompt = golden_.prompts[i / 4];
      wire::GenerationParams params = GreedyRequest(absl::StrCat("r", i), prompt.ids,
                                                    static_cast<uint32_t>(prompt.greedy.size()));
      params.deadline = absl::Seconds(60);
      readers.push_back(routers[i % 2]->Submit(params));
    }
    if (loss) {
      readers[0]->AwaitTokens(3);
      (*cluster)->fleet().Kill(0);
    }
    for (size_t i = 0; i < readers.size(); ++i) {
      EXPECT_EQ(readers[i]->AwaitFinished().error, absl::OkStatus());
      EXPECT_EQ(readers[i]->tokens(), golden_.prompts[i / 4].greedy) << "request " << i;
    }
    for (TestRouter* router : routers) {
      for (uint32_t shard = 0; shard < 2; ++shard) {
        EXPECT_GT(router->OfShard("tessera_router_shard_rows_total", shard), 0);
      }
    }
  }
}

}  // namespace
}  // namespace tessera
