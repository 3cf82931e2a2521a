// The reference's logits through shards of this process, over every way of moving frames; in strict
// mode the same bits whatever the number of shards. Two routers use each pool.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/cli/local_engine.h"
#include "tests/support/golden_run.h"
#include "tests/support/test_cluster.h"

namespace tessera {
namespace {

using testing::CollectingSink;
using testing::EventReader;
using testing::Golden;
using testing::GoldenPrompt;
using testing::GoldenRun;
using testing::GreedyRequest;
using testing::RunGolden;
using testing::TestCluster;
using testing::TestRouter;
using testing::TestRouterOptions;

constexpr float kTolerance = 1e-3f;

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
  GoldenRun ComputeHere() {
    CollectingSink sink;
    auto engine = cli::LocalEngine::Create(
        golden_.model_dir, {.threads = 1, .precision = "float32", .strict = true},
        {.context_max = 256, .sequence_count = golden_.prompts.size()}, sink, clock_, {});
    EXPECT_TRUE(engine.ok()) << engine.status();
    return engine.ok() ? RunGolden(golden_, **engine, sink) : GoldenRun{};
  }
  void ExpectGolden(const GoldenRun& outcome) {
    EXPECT_LE(WorstError(outcome, golden_), kTolerance);
    for (size_t i = 0; i < outcome.tokens.size(); ++i) {
      EXPECT_EQ(outcome.tokens[i], golden_.prompts[i].greedy) << "prompt " << i;
    }
  }

  const RealClock clock_;
  Golden golden_;
};

INSTANTIATE_TEST_SUITE_P(
    Ways, ShardsGoldenTest,
    ::testing::Values(Way{"afmoe-tiny-f32", "loopback"}, Way{"afmoe-tiny-f32", "shm"},
                      Way{"afmoe-tiny-f32", "ucx"}, Way{"afmoe-tiny-f32", "grpc"},
                      Way{"afmoe-256x4-bf16", "loopback"}, Way{"afmoe-256x4-bf16", "ucx"},
                      Way{"afmoe-256x4-bf16", "grpc"}),
    [](const ::testing::TestParamInfo<Way>& info) {
      return testing::TestName(absl::StrCat(info.param.model, "_", info.param.scheme));
    });

TEST_P(ShardsGoldenTest, AnyNumberOfShards) {
  const GoldenRun here = ComputeHere();
  ExpectGolden(here);
  for (const uint32_t shards : {1u, 2u, 3u, 7u}) {
    SCOPED_TRACE(absl::StrCat(shards, " shards"));
    CollectingSink sink;
    auto cluster = TestCluster::Start(
        golden_.model_dir,
        {.shard_count = shards, .router = {.data_scheme = GetParam().scheme, .sink = &sink}});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    ExpectGolden(RunGolden(golden_, (*cluster)->router(), sink));

    CollectingSink strict_sink;
    auto strict = (*cluster)->StartFollower({.dispatch = {.strict = true}, .sink = &strict_sink});
    ASSERT_TRUE(strict.ok()) << strict.status();
    const GoldenRun there = RunGolden(golden_, **strict, strict_sink);
    EXPECT_TRUE(there.logits == here.logits) << "not the same bits";
    EXPECT_EQ(there.tokens, here.tokens);
    for (uint32_t shard = 0; shard < shards; ++shard) {
      EXPECT_GT((*strict)->OfShard("tessera_router_shard_rows_total", shard), 0) << shard;
    }
  }
}

// Rows travel as bfloat16 here, so the experts of one process compute something else.
TEST_P(ShardsGoldenTest, StrictBitsInFastArithmetic) {
  std::optional<GoldenRun> first;
  for (const uint32_t shards : {1u, 7u}) {
    CollectingSink sink;
    auto cluster =
        TestCluster::Start(golden_.model_dir, {.shard_count = shards,
                                               .router = {.data_scheme = GetParam().scheme,
                                                          .precision = "fast",
                                                          .dispatch = {.strict = true},
                                                          .sink = &sink}});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    const GoldenRun there = RunGolden(golden_, (*cluster)->router(), sink);
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
