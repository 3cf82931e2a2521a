// Random lives of a router and its shards under a simulated clock and network: the real scheduler,
// KV cache accounting, placement and dispatcher against shards that die, hang, move their experts
// and sit behind a network that drops, delays, repeats, reorders and corrupts.
//
//   router_simulation_test             1000 seeds
//   router_simulation_test --seed=42   that one, as it was

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "common/base/random.h"
#include "common/metrics/metrics.h"
#include "gtest/gtest.h"
#include "services/router/dispatch/dispatcher.h"
#include "services/router/scheduler/scheduler.h"
#include "tests/simulation/folding_model.h"
#include "tests/support/simulated_cluster.h"

namespace tessera::router {
namespace {

using testing::SimulatedCluster;
using testing::SimulatedClusterConfig;

std::optional<uint64_t> only_seed;  // --seed
constexpr uint64_t kSeeds = 1000;

// What came up in all lives together: nothing is shown by faults that never happened.
struct Totals {
  uint64_t tokens = 0;
  uint64_t failed_steps = 0;
  uint64_t kills = 0;
  uint64_t hangs = 0;
  uint64_t moves = 0;
  uint64_t downs = 0;
  uint64_t requests = 0;  // of units
  uint64_t preemptions = 0;
  uint64_t cancels = 0;
  std::map<FaultKind, uint64_t> faults;
};

class Life {
 public:
  Life(uint64_t seed, Totals& totals)
      : random_(seed), totals_(totals), shape_(DrawShape()), cluster_(DrawCluster(seed)) {
    config_.batch_tokens_max = 4 + random_.Below(40);
    config_.prefill_chunk_max = 1 + random_.Below(20);
    config_.sequences_max = 1 + random_.Below(4);
    config_.logits_rows_max = config_.sequences_max;
    config_.context_max = 50;
    config_.vocab = kFoldingVocab;
    config_.eos_token_ids = {3};
    const ModelSpec spec = FoldingSpec(shape_);
    KvCacheConfig kv;
    kv.prefix_cache = random_.Below(3) != 0;
    const BlockCounts one = KvGeometry::Of(spec, kv.type).SequenceBlocks(config_.context_max, 1);
    kv.blocks = {shape_.layers > 1 ? one.full + random_.Below(2 * one.full + 1) : 0,
                 one.sliding + random_.Below(2 * one.sliding + 1)};
    kv_ = KvCache::Create(spec, kv).value();
    scheduler_ = std::make_unique<Scheduler>(config_, *kv_);
    DispatchConfig dispatch;
    dispatch.strict = strict_;
    dispatch.exchange_timeout = absl::Seconds(5);
    dispatcher_ = std::make_unique<Dispatcher>(
        dispatch, DispatchRooms{cluster_.exchange(), cluster_, cluster_.clock(), registry_,
                                [this](absl::Duration timeout, std::vector<ExchangeEvent>& events) {
                                  cluster_.Wait(timeout, events);
                                }});
    model_ = std::make_unique<FoldingModel>(shape_, *kv_, *dispatcher_);
  }

  void Run() {
    const size_t sequences = 3 + random_.Below(6);
    const int calm_at = 40 + static_cast<int>(random_.Below(80));
    InjectFaults();
    for (int step = 0; step < 3000; ++step) {
      if (submitted_ < sequences && random_.Below(4) == 0) Submit();
      if (random_.Below(40) == 0) Cancel();
      if (step < calm_at) Disturb();
      if (step == calm_at) CalmDown();
      Step();
      if (::testing::Test::HasFatalFailure()) return;
      if (submitted_ == sequences && scheduler_->idle() && step > calm_at) break;
    }
    ASSERT_TRUE(scheduler_->idle()) << "sequences never finished";
    ASSERT_EQ(ended_, sequences);
    CheckNothingLeaked();
    for (int kind = 0; kind < 6; ++kind) {
      const auto fault = static_cast<FaultKind>(kind);
      totals_.faults[fault] += cluster_.network().FaultHits(fault);
    }
    totals_.downs += cluster_.downs_reported;
    totals_.requests += cluster_.units_requested;
    totals_.preemptions += scheduler_->stats().preemptions;
  }

 private:
  FoldingShape DrawShape() {
    return {.layers = 1 + random_.Below(3),
            .window = 5 + random_.Below(30),
            .experts = 4 + random_.Below(6),
            .top_k = 1 + random_.Below(3)};
  }

  SimulatedClusterConfig DrawCluster(uint64_t seed) {
    strict_ = random_.Below(2) == 0;
    SimulatedClusterConfig config;
    config.seed = seed;
    config.shard_count = 1 + random_.Below(4);
    config.replicas = 1 + random_.Below(2);
    config.layer_count = shape_.layers;
    const auto rows_max = static_cast<uint32_t>(2 + random_.Below(20));
    config.geometry = {.d_model = kFoldingWidth,
                       .layer_count = static_cast<uint32_t>(shape_.layers),
                       .expert_count = static_cast<uint32_t>(shape_.experts),
                       .rows_max = rows_max,
                       .pairs_max = rows_max * static_cast<uint32_t>(shape_.top_k),
                       .dtype_up = wire::RowDType::kF32,
                       .dtype_down = wire::RowDType::kF32,
                       .strict = strict_};
    config.credits = static_cast<uint32_t>(1 + random_.Below(3));
    config.compute = absl::Microseconds(50 + random_.Below(3000));
    config.reconnect_after = absl::Milliseconds(10 + random_.Below(400));
    config.load_after = absl::Milliseconds(10 + random_.Below(400));
    config.expert = FoldingExpert;
    return config;
  }

  void InjectFaults() {
    const FaultKind kinds[] = {FaultKind::kDrop,      FaultKind::kDelay,   FaultKind::kReorder,
                               FaultKind::kDuplicate, FaultKind::kCorrupt, FaultKind::kKill};
    for (const FaultKind kind : kinds) {
      for (const wire::FrameType type :
           {wire::FrameType::kCall, wire::FrameType::kReply, wire::FrameType::kNack}) {
        if (random_.Below(3) == 0) continue;
        cluster_.network().Inject(
            {.kind = kind,
             .type = type,
             .probability = random_.Uniform() * (kind == FaultKind::kKill ? 0.01 : 0.08),
             .delay = absl::Milliseconds(random_.Below(60)),
             .jitter = absl::Milliseconds(random_.Below(200))});
      }
    }
  }

  void Disturb() {
    const size_t shard = random_.Below(cluster_.shard_count());
    switch (random_.Below(30)) {
      case 0:
        if (cluster_.shard(shard).running()) ++totals_.kills;
        return cluster_.Kill(shard);
      case 1:
        ++totals_.hangs;
        return cluster_.Hang(shard);
      case 2:
      case 3:
        return cluster_.Resume(shard);
      case 4:
        cluster_.shard(shard).compute = absl::Milliseconds(random_.Below(120));
        return;
      case 5:
        cluster_.shard(shard).compute.reset();
        return;
      case 8:  // alive, and of no use
        cluster_.shard(shard).compute = absl::Seconds(1 + random_.Below(6));
        return;
      case 6:
      case 7:
        return Move(shard);
      default:
        return;
    }
  }

  // Make before break, and break while calls by the old view may be on their way.
  void Move(size_t to) {
    const LayerIndex layer{static_cast<uint32_t>(random_.Below(shape_.layers))};
    const ExpertId expert{static_cast<uint32_t>(random_.Below(shape_.experts))};
    const auto replicas = cluster_.View()->placement.replicas(layer, expert);
    if (replicas.empty()) return;
    for (const Replica& replica : replicas) {
      if (ToIndex(replica.shard) == to) return;
    }
    const size_t from = ToIndex(replicas[random_.Below(replicas.size())].shard);
    cluster_.AddCopy(layer, expert, to);
    cluster_.Publish();
    cluster_.At(cluster_.clock().Elapsed() + absl::Milliseconds(random_.Below(50)), [=, this] {
      cluster_.shard(from).units.erase({layer, expert});
      cluster_.At(cluster_.clock().Elapsed() + absl::Milliseconds(2), [=, this] {
        cluster_.RemoveFromPlacement(layer, expert, from);
        cluster_.Publish();
      });
    });
    ++totals_.moves;
  }

  void CalmDown() {
    cluster_.network().ClearFaults();
    for (size_t i = 0; i < cluster_.shard_count(); ++i) {
      cluster_.Resume(i);
      cluster_.shard(i).compute.reset();
    }
  }

  void Submit() {
    SequenceRequest request;
    request.id = SequenceId{submitted_++};
    const size_t count = 1 + random_.Below(30);
    const uint64_t origin = random_.Below(3);  // a common beginning for the prefix cache
    for (size_t i = 0; i < count; ++i) {
      const uint64_t bits = i < 17 ? RandomBits(origin, i) : random_.Bits();
      request.prompt.push_back(static_cast<TokenId>(bits % kFoldingVocab));
    }
    request.sampling.max_tokens = static_cast<uint32_t>(1 + random_.Below(18));
    request.sampling.ignore_eos = random_.Below(2) == 0;
    ASSERT_TRUE(scheduler_->Submit(std::make_unique<Sequence>(request)).ok());
  }

  void Cancel() {
    if (submitted_ > 0)
      totals_.cancels += scheduler_->Cancel(SequenceId{random_.Below(submitted_)});
  }

  void Step() {
    const StepBatch batch = scheduler_->NextBatch(cluster_.clock().Elapsed());
    if (batch.empty()) {
      dispatcher_->LookAround();
    } else if (const auto sampled = model_->Run(batch); sampled.ok()) {
      Record(batch, *sampled);
      scheduler_->Commit(batch, *sampled);
    } else {
      ASSERT_TRUE(absl::IsUnavailable(sampled.status()) ||
                  absl::IsDeadlineExceeded(sampled.status()))
          << sampled.status();
      ++totals_.failed_steps;
      scheduler_->Abort(batch);
    }
    for (const auto& sequence : scheduler_->TakeFinished()) CheckFinished(*sequence);
    cluster_.Pass(absl::Milliseconds(batch.empty() ? 5 : 1));
  }

  void Record(const StepBatch& batch, const std::vector<SampledToken>& sampled) {
    for (size_t i = 0; i < sampled.size(); ++i) {
      const Sequence& sequence = *batch.samples()[i].sequence;
      std::vector<TokenId>& tokens = tokens_[sequence.id()];
      ASSERT_EQ(tokens.size(), sequence.produced_count()) << "a token twice or left out";
      tokens.push_back(sampled[i].token);
    }
  }

  void CheckFinished(const Sequence& sequence) {
    ++ended_;
    ASSERT_TRUE(sequence.error().ok()) << sequence.error();
    const bool cancelled = sequence.finish_reason() == FinishReason::kCancelled;
    std::vector<TokenId>& tokens = tokens_[sequence.id()];
    // A sequence cancelled before its step is committed keeps no token of it.
    ASSERT_TRUE(cancelled || tokens.size() == sequence.produced_count());
    FoldingReference reference(shape_);
    TokenId next = 0;
    for (const TokenId token : sequence.prompt()) next = reference.Next(token);
    for (size_t i = 0; i < sequence.produced_count(); ++i) {
      ASSERT_EQ(sequence.produced()[i], next)
          << "token " << i << " of sequence " << static_cast<uint64_t>(sequence.id());
      ASSERT_EQ(tokens[i], next);
      next = reference.Next(next);
    }
    totals_.tokens += sequence.produced_count();
  }

  void CheckNothingLeaked() {
    const KvStats kv = kv_->stats();
    ASSERT_EQ(kv.used_bytes, 0u);
    ASSERT_EQ(kv.full.free_count + kv.full.idle_count, kv.full.block_count);
    ASSERT_EQ(kv.sliding.free_count + kv.sliding.idle_count, kv.sliding.block_count);
    // A shard that was slow may hold on to a call's memory for as long as it was.
    for (int i = 0; i < 80 && (i < 10 || !AllSlotsFree()); ++i) {
      cluster_.Pass(absl::Milliseconds(100));
      dispatcher_->LookAround();
    }
    for (const auto& link : cluster_.View()->links) {
      ASSERT_TRUE(link.has_value()) << "a shard never came back";
      const PeerLoad load = cluster_.exchange().LoadOf(link->peer);
      ASSERT_EQ(load.calls, 0u);
      ASSERT_EQ(load.slots_free, credits()) << "of shard " << ToIndex(link->shard);
    }
  }
  bool AllSlotsFree() {
    return std::ranges::all_of(cluster_.View()->links, [&](const auto& link) {
      return link && cluster_.exchange().LoadOf(link->peer).slots_free == credits();
    });
  }
  uint32_t credits() const { return cluster_.credits(); }

  Random random_;
  Totals& totals_;
  const FoldingShape shape_;
  bool strict_ = false;
  SimulatedCluster cluster_;
  SchedulerConfig config_;
  Registry registry_;
  std::unique_ptr<KvCache> kv_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Dispatcher> dispatcher_;
  std::unique_ptr<FoldingModel> model_;
  std::map<SequenceId, std::vector<TokenId>> tokens_;  // as sampled in committed steps
  uint64_t submitted_ = 0;
  uint64_t ended_ = 0;
};

TEST(RouterSimulation, TokensAreThoseOfTheUndisturbedRun) {
  Totals totals;
  const uint64_t first = only_seed.value_or(1);
  const uint64_t last = only_seed.value_or(kSeeds);
  for (uint64_t seed = first; seed <= last; ++seed) {
    Life(seed, totals).Run();
    ASSERT_FALSE(HasFailure()) << "replay with --seed=" << seed;
  }
  std::printf(
      "tokens %lu, failed steps %lu, kills %lu, hangs %lu, moves %lu, peers lost %lu, units "
      "asked for %lu, preemptions %lu, cancels %lu\n",
      totals.tokens, totals.failed_steps, totals.kills, totals.hangs, totals.moves, totals.downs,
      totals.requests, totals.preemptions, totals.cancels);
  if (only_seed) return;
  EXPECT_GT(totals.tokens, kSeeds * 10);
  for (const uint64_t count : {totals.failed_steps, totals.kills, totals.hangs, totals.moves,
                               totals.downs, totals.requests, totals.preemptions, totals.cancels}) {
    EXPECT_GT(count, 0u);
  }
  for (const auto& [kind, hits] : totals.faults) EXPECT_GT(hits, 0u) << static_cast<int>(kind);
}

}  // namespace
}  // namespace tessera::router

int main(int argc, char** argv) {
  // One thread and millions of locks: bookkeeping of their order would take half of the time.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--seed=", 7) == 0) {
      tessera::router::only_seed = std::strtoull(argv[i] + 7, nullptr, 10);
    }
  }
  return RUN_ALL_TESTS();
}
