// Shards that die, hang and come back while requests run: every request gets the reference's
// tokens, whatever the network does besides.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/golden_cluster.h"
#include "tests/support/wait_until.h"

namespace tessera {
namespace {

using ::testing::Each;
using testing::ShardFleet;
using testing::TestClusterOptions;
using testing::WaitUntil;
using wire::FinishKind;
using wire::GenerationParams;

constexpr uint16_t kMoeLayers[] = {2, 3, 4, 5};

// What befalls answers, all the time. A delay is counted in answer times of these shards on this
// box, undisturbed.
struct Weather {
  const char* name;
  std::vector<FaultRule> rules;
  int slowdown = 0;  // the delay of kDelay rules; 0: they have their own
};

FaultRule Answers(FaultKind kind, double probability, absl::Duration delay = absl::ZeroDuration()) {
  return {.kind = kind,
          .direction = FrameDirection::kFromListener,
          .type = wire::FrameType::kReply,
          .probability = probability,
          .delay = delay,
          .jitter = delay};
}

FaultRule AnswersOf(uint32_t shard, FaultKind kind) {
  FaultRule rule = Answers(kind, 1);
  rule.listener = ShardFleet::NameOf(shard);
  return rule;
}

std::vector<Weather> Weathers() {
  return {{"calm", {}},
          {"delayed", {Answers(FaultKind::kDelay, 1)}, /*slowdown=*/100},
          {"oneDelayed", {AnswersOf(1, FaultKind::kDelay)}, /*slowdown=*/100},
          {"duplicated", {Answers(FaultKind::kDuplicate, 0.5, absl::Milliseconds(2))}},
          {"reordered", {Answers(FaultKind::kReorder, 0.3)}},
          {"corrupted", {Answers(FaultKind::kCorrupt, 0.1)}}};
}

class ShardLossTest : public testing::GoldenClusterTest,
                      public ::testing::WithParamInterface<Weather> {
 protected:
  void Start(const TestClusterOptions& options) {
    if (GetParam().slowdown > 0) tokens_max_ = 7;  // each of them takes long
    ASSERT_NO_FATAL_FAILURE(GoldenClusterTest::Start(options));
    absl::Duration delay;
    if (GetParam().slowdown > 0) {
      delay = GetParam().slowdown * AnswerTime();
      std::printf("answers take %s longer\n", absl::FormatDuration(delay).c_str());
    }
    for (FaultRule rule : GetParam().rules) {
      if (delay > absl::ZeroDuration()) rule.delay = delay;
      cluster_->network().Inject(rule);
    }
  }
  // What an answer takes: 0.2 ms on a quiet box, or what a layer waits here beyond its own work,
  // the best mean of a few requests, as other programs only add to it.
  absl::Duration AnswerTime() {
    const auto waited = [this] {
      return std::pair(Total("tessera_router_expert_wait_seconds_sum"),
                       Total("tessera_router_expert_wait_seconds_count"));
    };
    double best = 1;
    constexpr double kQuiet = 0.2e-3;
    for (int i = 0; i < 5; ++i) {
      const auto before = waited();
      ExpectWhole(*cluster_->router().Submit(Request(0)), 0);
      const auto after = waited();
      EXPECT_GT(after.second, before.second);
      best = std::min(best, (after.first - before.first) / (after.second - before.second));
    }
    return absl::Seconds(std::max(best, kQuiet));
  }
  void TearDown() override {
    for (const FaultRule& rule : GetParam().rules) {
      EXPECT_GT(cluster_->network().FaultHits(rule.kind), 0u) << "the weather was calm";
    }
  }
  // The shard dies at its call number `skip` for that layer: its data plane at once, its process
  // as soon as this thread sees it.
  void KillAtLayer(uint32_t shard, uint16_t layer, uint64_t skip) {
    const uint64_t before = cluster_->network().FaultHits(FaultKind::kKill);
    cluster_->network().Inject({.kind = FaultKind::kKill,
                                .listener = ShardFleet::NameOf(shard),
                                .direction = FrameDirection::kToListener,
                                .layer = layer,
                                .skip = skip,
                                .count = 1});
    const Readers readers = SubmitAll();
    ASSERT_TRUE(
        WaitUntil([&] { return cluster_->network().FaultHits(FaultKind::kKill) > before; }));
    cluster_->fleet().Kill(shard);
    ExpectWhole(readers);
  }
  void Rejoin(uint32_t shard) {
    const absl::Status status = cluster_->fleet().Start(shard);
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_TRUE(cluster_->AwaitLinked(shard));
  }
  // The shard gets work again, once the suspicion that it is slow has passed.
  void ExpectUsed(uint32_t shard) {
    const auto rows = [&] {
      return cluster_->router().OfShard("tessera_router_shard_rows_total", shard);
    };
    const double before = rows();
    EXPECT_TRUE(WaitUntil([&] {
      ExpectWhole(SubmitAll());
      return rows() > before;
    }));
  }
  // Of layers and moments at which a shard dies; fewer where other things happen as well.
  std::vector<uint64_t> Skips() const {
    return GetParam().rules.empty() ? std::vector<uint64_t>{0, 6} : std::vector<uint64_t>{4};
  }
};

INSTANTIATE_TEST_SUITE_P(Answers, ShardLossTest, ::testing::ValuesIn(Weathers()),
                         [](const ::testing::TestParamInfo<Weather>& info) {
                           return std::string(info.param.name);
                         });

TEST_P(ShardLossTest, KilledAtEachLayerWithAReplica) {
  Start({.shard_count = 2, .replicas = 2});
  uint32_t victim = 0;
  for (const uint16_t layer : kMoeLayers) {
    for (const uint64_t skip : Skips()) {
      SCOPED_TRACE(absl::StrCat("layer ", layer, ", call ", skip, ", shard ", victim));
      // A second copy may be on its way already where answers are slow.
      const auto copies = [&] {
        return Total("tessera_router_shard_retries_total") +
               Total("tessera_router_shard_hedges_total");
      };
      const double before = copies();
      const double epoch = Total("tessera_router_placement_epoch");
      ASSERT_NO_FATAL_FAILURE(KillAtLayer(victim, layer, skip));
      EXPECT_GT(copies(), before);
      ASSERT_NO_FATAL_FAILURE(Rejoin(victim));
      EXPECT_GT(Total("tessera_router_placement_epoch"), epoch);
      victim = 1 - victim;
    }
  }
  EXPECT_EQ(Total("tessera_router_unit_loads_total"), 0) << "a copy lived all the time";
  EXPECT_EQ(Total("tessera_router_homeless_layers_total"), 0);
  EXPECT_EQ(Total("tessera_router_stalls_total"), 0);
}

TEST_P(ShardLossTest, KilledAtEachLayerWithoutAReplica) {
  Start({.shard_count = 2, .replicas = 1});
  // In turn: the survivor of one loss holds everything, and is the one to die next.
  uint32_t victim = 0;
  for (const uint16_t layer : kMoeLayers) {
    for (const uint64_t skip : Skips()) {
      SCOPED_TRACE(absl::StrCat("layer ", layer, ", call ", skip, ", shard ", victim));
      const double loads = Total("tessera_router_unit_loads_total");
      const double homeless = Total("tessera_router_homeless_layers_total");
      const double epoch = Total("tessera_router_placement_epoch");
      ASSERT_NO_FATAL_FAILURE(KillAtLayer(victim, layer, skip));
      EXPECT_GT(Total("tessera_router_unit_loads_total"), loads);
      EXPECT_GE(Total("tessera_router_homeless_layers_total"), homeless);
      EXPECT_GT(Total("tessera_router_placement_epoch"), epoch);
      ASSERT_NO_FATAL_FAILURE(Rejoin(victim));
      victim = 1 - victim;
    }
  }
}

TEST_P(ShardLossTest, HangingShardIsLeftAndUsedAgain) {
  for (const uint32_t replicas : {2u, 1u}) {
    SCOPED_TRACE(absl::StrCat(replicas, " replicas"));
    Start({.shard_count = 2, .replicas = replicas});
    const Readers readers = SubmitAll();
    readers[0]->AwaitTokens(4);
    cluster_->fleet().Hang(0);
    ExpectWhole(readers);
    // Timeouts are faster with a replica; that it hangs is found out in any case.
    EXPECT_TRUE(WaitUntil([&] { return Total("tessera_router_shard_downs_total") >= 1; }));
    EXPECT_EQ(Total("tessera_router_unit_loads_total") > 0, replicas == 1);
    cluster_->fleet().Resume(0);
    ASSERT_TRUE(cluster_->AwaitLinked(0));
    ExpectUsed(0);
  }
}

TEST_P(ShardLossTest, RestartedShardIsUsedAgain) {
  Start({.shard_count = 2, .replicas = 2});
  Readers readers = SubmitAll();
  readers[0]->AwaitTokens(4);
  const uint64_t before = cluster_->fleet().shard(1).incarnation();
  cluster_->fleet().Kill(1);
  ExpectWhole(readers);
  ASSERT_NO_FATAL_FAILURE(Rejoin(1));
  EXPECT_NE(cluster_->fleet().shard(1).incarnation(), before);
  ExpectUsed(1);
  // Orderly, as an update does: nothing is retried at the expense of a timeout.
  const double timeouts = Total("tessera_router_shard_timeouts_total");
  readers = SubmitAll();
  readers[0]->AwaitTokens(4);
  cluster_->fleet().Stop(1);
  ExpectWhole(readers);
  if (GetParam().rules.empty()) {
    EXPECT_EQ(Total("tessera_router_shard_timeouts_total"), timeouts);
  }
}

TEST_P(ShardLossTest, AllShardsGoneAndBack) {
  Start({.shard_count = 2, .replicas = 1});
  const Readers readers = SubmitAll();
  readers[0]->AwaitTokens(4);
  cluster_->fleet().Kill(0);
  cluster_->fleet().Kill(1);
  GenerationParams hurried = Request(1);
  hurried.request_id = "hurried";
  hurried.deadline = absl::Milliseconds(400);
  const auto late = cluster_->router().Submit(hurried);
  EXPECT_EQ(late->AwaitFinished().error.code(), absl::StatusCode::kDeadlineExceeded);
  const auto newcomer = cluster_->router().Submit(Request(2));
  EXPECT_FALSE(newcomer->finished());
  ASSERT_NO_FATAL_FAILURE(Rejoin(0));
  ASSERT_NO_FATAL_FAILURE(Rejoin(1));
  ExpectWhole(readers);
  ExpectWhole(*newcomer, 2);
  EXPECT_GT(Total("tessera_router_stalls_total"), 0);
}

TEST_P(ShardLossTest, OnlyWhoAllowsItGoesOnWithExpertsMissing) {
  Start({.shard_count = 2, .replicas = 1, .slots_spare = 0});  // the survivor cannot take more
  cluster_->fleet().Kill(0);
  const Readers waiting = SubmitAll();
  GenerationParams allowed = Request(4);
  allowed.request_id = "allowed";
  allowed.degraded_allowed = true;
  const auto degraded = cluster_->router().Submit(allowed);
  const wire::FinishedEvent& end = degraded->AwaitFinished();
  EXPECT_EQ(end.error, absl::OkStatus());
  EXPECT_TRUE(end.degraded);
  EXPECT_EQ(degraded->tokens().size(), allowed.tokens_max);
  EXPECT_TRUE(degraded->outputs().back().degraded);
  size_t unfinished = 0;
  for (const auto& reader : waiting) unfinished += reader->finished() ? 0 : 1;
  EXPECT_EQ(unfinished, waiting.size());
  ASSERT_NO_FATAL_FAILURE(Rejoin(0));
  ExpectWhole(waiting);
  for (const auto& reader : waiting) {
    EXPECT_THAT(reader->outputs(), Each(::testing::Field(&wire::TokenOutput::degraded, false)));
  }
}

TEST_P(ShardLossTest, RestartedRouterFindsTheShardsAsTheyAre) {
  TestClusterOptions options{.shard_count = 2, .replicas = 1};
  // Nobody is lost here: who is silent on a busy machine is not to be replaced.
  options.router.exchange.peer_timeout = absl::Seconds(30);
  Start(options);
  const Readers readers = SubmitAll();
  readers[0]->AwaitTokens(4);
  const uint64_t lives[] = {cluster_->fleet().shard(0).incarnation(),
                            cluster_->fleet().shard(1).incarnation()};
  const absl::Status status = cluster_->RestartRouter();
  ASSERT_TRUE(status.ok()) << status;
  // What was under way goes on with what it had produced, as a gateway does it.
  Readers resumed(readers.size());
  for (size_t i = 0; i < readers.size(); ++i) {
    const wire::FinishedEvent& end = readers[i]->AwaitFinished();
    if (end.kind != FinishKind::kError) continue;
    EXPECT_EQ(end.error.code(), absl::StatusCode::kUnavailable);
    GenerationParams rest = Request(i);
    rest.produced = readers[i]->tokens();
    resumed[i] = cluster_->router().Submit(rest);
  }
  for (size_t i = 0; i < readers.size(); ++i) {
    std::vector<TokenId> tokens = readers[i]->tokens();
    if (resumed[i] != nullptr) {
      EXPECT_EQ(resumed[i]->AwaitFinished().error, absl::OkStatus());
      for (const TokenId token : resumed[i]->tokens()) tokens.push_back(token);
    }
    EXPECT_EQ(tokens, Expected(i));
  }
  EXPECT_EQ(cluster_->fleet().shard(0).incarnation(), lives[0]);
  EXPECT_EQ(cluster_->fleet().shard(1).incarnation(), lives[1]);
  ExpectUsed(0);
  EXPECT_EQ(Total("tessera_router_unit_loads_total"), 0);
}

}  // namespace
}  // namespace tessera
