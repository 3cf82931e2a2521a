#include "services/router/cluster/balancer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "common/json/json.h"
#include "services/router/cluster/balance_report.h"

namespace tessera::router {
namespace {

constexpr PlacementShape kShape{.layer_count = 1, .expert_count = 8};
constexpr LayerIndex kLayer{0};

// Two shards with four experts each, and a load that is told to the balancer.
class BalancerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (uint32_t id = 0; id < 2; ++id) AddShard(id, id * 4, id * 4 + 4);
  }
  void AddShard(uint32_t id, uint32_t first, uint32_t last) {
    wire::ShardDescriptor& shard = shards_[id];
    shard.shard = ShardId{id};
    shard.incarnation = 10 + id;
    shard.state = wire::ShardState::kReady;
    shard.slot_count = 8;
    for (uint32_t e = first; e < last; ++e) {
      shard.held.push_back({kLayer, ExpertId{e}, e - first, 1});
    }
  }
  void Load(Balancer& balancer, const std::vector<uint64_t>& rows, uint64_t steps = 1000) {
    balancer.Report({kShape, rows, rows, {steps}});
  }
  // One look at `now`, with its plan.
  BalanceVerdict Look(Balancer& balancer, absl::Duration now, bool disturbed = false,
                      PlacementShape shape = kShape) {
    std::vector<RepairShard> known;
    for (const auto& [id, shard] : shards_) known.push_back({.shard = &shard, .usable = true});
    const auto placement = Placement::Build(Epoch{1}, shape, Units());
    const auto problem = balancer.DueProblem(*placement, known, {}, disturbed, now);
    if (problem) balancer.Consider(PlanBalance(*problem, balancer.options()), now);
    return balancer.last_look().verdict;
  }
  // Carries out the round under way, with errors for the shards of `refusing`.
  void Obey(Balancer& balancer, absl::Duration now, const std::set<uint32_t>& refusing = {}) {
    for (int round = 0; round < 100 && !balancer.migration().idle(); ++round) {
      std::vector<RepairShard> known;
      for (const auto& [id, shard] : shards_) known.push_back({.shard = &shard, .usable = true});
      const auto placement = Placement::Build(Epoch{1}, kShape, Units());
      const RepairActions actions = balancer.Next(*placement, known, true, false, now);
      for (const auto& [id, units] : actions.hide) {
        for (const Unit& unit : units) hidden_.insert({id, unit});
      }
      for (const auto& [id, units] : actions.unhide) {
        for (const Unit& unit : units) hidden_.erase({id, unit});
      }
      for (const ShardOrder& order : actions.orders) {
        const auto id = static_cast<uint32_t>(ToIndex(order.shard));
        auto& held = shards_.at(id).held;
        if (refusing.contains(id)) {
          balancer.Finished(order.shard, absl::DataLossError("spoiled"), now);
          continue;
        }
        for (const UnitToLoad& unit : order.order.load) {
          held.push_back({unit.layer, unit.expert, unit.slot, 1});
        }
        for (const wire::HeldUnit& unit : order.order.drop) {
          std::erase(held, unit);
          hidden_.erase({order.shard, {unit.layer, unit.expert}});
        }
        balancer.Finished(order.shard, absl::OkStatus(), now);
      }
      now += absl::Seconds(2);
    }
    EXPECT_TRUE(balancer.migration().idle());
  }
  std::vector<PlacedUnit> Units() const {
    std::vector<PlacedUnit> units;
    for (const auto& [id, shard] : shards_) {
      for (const auto& held : shard.held) {
        if (hidden_.contains({ShardId{id}, {held.layer, held.expert}})) continue;
        units.push_back({held.layer, held.expert, {ShardId{id}, held.slot, 1}});
      }
    }
    return units;
  }
  static BalancerConfig Config() {
    return {.moves = true, .interval = absl::Seconds(10), .threshold = 0.9, .slots_kept_free = 0};
  }

  std::map<uint32_t, wire::ShardDescriptor> shards_;
  std::set<std::pair<ShardId, Unit>> hidden_;  // not in the map
  const std::vector<uint64_t> even_ = {100, 100, 100, 100, 100, 100, 100, 100};
  const std::vector<uint64_t> skewed_ = {500, 100, 100, 100, 50, 50, 50, 50};
  const std::vector<uint64_t> nearly_ = {130, 100, 100, 100, 90, 90, 90, 90};
};

TEST_F(BalancerTest, LooksAtItsIntervalAndMovesBelowTheThreshold) {
  Balancer balancer(Config(), kShape, {kLayer});
  Load(balancer, skewed_);
  EXPECT_EQ(Look(balancer, absl::Seconds(0)), BalanceVerdict::kNone);
  EXPECT_EQ(Look(balancer, absl::Seconds(30)), BalanceVerdict::kMoving);
  EXPECT_GT(balancer.last_look().plan.after, 0.95);
  EXPECT_EQ(balancer.rounds(), 1u);
  // The next look finds it at work.
  EXPECT_EQ(Look(balancer, absl::Seconds(45)), BalanceVerdict::kBusy);
}

TEST_F(BalancerTest, LeavesAGoodBalanceAlone) {
  Balancer balancer(Config(), kShape, {kLayer});
  Load(balancer, even_);
  Look(balancer, absl::Seconds(0));
  EXPECT_EQ(Look(balancer, absl::Seconds(30)), BalanceVerdict::kGood);
  Load(balancer, nearly_, 100'000);  // 0.92: not perfect, above the threshold
  EXPECT_EQ(Look(balancer, absl::Seconds(60)), BalanceVerdict::kGood);
  EXPECT_EQ(balancer.rounds(), 0u);
}

TEST_F(BalancerTest, WaitsUntilItKnowsEnough) {
  Balancer balancer(Config(), kShape, {kLayer});
  Load(balancer, skewed_, 50);
  Look(balancer, absl::Seconds(0));
  EXPECT_EQ(Look(balancer, absl::Seconds(30)), BalanceVerdict::kUnknown);
}

TEST_F(BalancerTest, AShardThatHoldsNothingIsWorthALookAtOnce) {
  Balancer balancer(Config(), kShape, {kLayer});
  Look(balancer, absl::Seconds(0));
  Look(balancer, absl::Seconds(30));
  AddShard(2, 0, 0);
  Look(balancer, absl::Seconds(31));
  EXPECT_EQ(Look(balancer, absl::Seconds(33)), BalanceVerdict::kMoving);
}

TEST_F(BalancerTest, SwitchedOffItGivesAShardThatCameItsShareWhenTriggered) {
  BalancerConfig config = Config();
  config.moves = false;
  Balancer balancer(config, kShape, {kLayer});
  Load(balancer, skewed_);
  Look(balancer, absl::Seconds(0));
  EXPECT_EQ(Look(balancer, absl::Seconds(30)), BalanceVerdict::kFrozen);
  AddShard(2, 0, 0);
  Look(balancer, absl::Seconds(31));
  EXPECT_EQ(Look(balancer, absl::Seconds(33)), BalanceVerdict::kFrozen);
  balancer.Trigger(/*moves=*/true);
  EXPECT_EQ(Look(balancer, absl::Seconds(34)), BalanceVerdict::kMoving);
  Obey(balancer, absl::Seconds(35));
  EXPECT_GE(shards_.at(2).held.size(), 1u);
  Load(balancer, {100, 100, 100, 100, 900, 900, 50, 50}, 100'000);
  EXPECT_EQ(Look(balancer, absl::Seconds(60)), BalanceVerdict::kFrozen);
  EXPECT_EQ(balancer.rounds(), 1u);
}

// However even they are: once, and the threshold holds again.
TEST_F(BalancerTest, AShardThatCameIsGivenItsShareAndNoMore) {
  BalancerConfig config = Config();
  config.threshold = config.target = 0.1;
  Balancer balancer(config, kShape, {kLayer});
  Load(balancer, skewed_);
  Look(balancer, absl::Seconds(0));
  EXPECT_EQ(Look(balancer, absl::Seconds(30)), BalanceVerdict::kGood);
  AddShard(2, 0, 0);
  Look(balancer, absl::Seconds(31));
  EXPECT_EQ(Look(balancer, absl::Seconds(33)), BalanceVerdict::kMoving);
  Obey(balancer, absl::Seconds(34));
  EXPECT_GE(shards_.at(2).held.size(), 1u);
  Load(balancer, {100, 100, 100, 100, 900, 900, 50, 50}, 100'000);
  EXPECT_EQ(Look(balancer, absl::Seconds(60)), BalanceVerdict::kGood) << "nobody is new";
  EXPECT_EQ(balancer.rounds(), 1u);
}

TEST_F(BalancerTest, AShareThatWasCutShortIsCompleted) {
  BalancerConfig config = Config();
  config.threshold = config.target = 0.1;
  config.loads_max = 1;
  Balancer balancer(config, kShape, {kLayer});
  Look(balancer, absl::Seconds(0));
  AddShard(2, 0, 0);
  int rounds = 0;
  for (int at = 1; at < 200; at += 11) {
    if (Look(balancer, absl::Seconds(at)) != BalanceVerdict::kMoving) continue;
    ++rounds;
    Obey(balancer, absl::Seconds(at), rounds == 2 ? std::set<uint32_t>{2} : std::set<uint32_t>{});
  }
  EXPECT_GE(rounds, 3) << "the second was refused, of eight experts two belong there";
  EXPECT_LE(rounds, 9);
  EXPECT_GE(shards_.at(2).held.size(), 2u);
}

TEST_F(BalancerTest, FrozenItGivesAShardThatCameNothingUntilItThaws) {
  Balancer balancer(Config(), kShape, {kLayer});
  balancer.Freeze();
  Look(balancer, absl::Seconds(0));
  AddShard(2, 0, 0);
  Look(balancer, absl::Seconds(1));
  EXPECT_EQ(Look(balancer, absl::Seconds(3)), BalanceVerdict::kFrozen);
  balancer.Thaw();
  EXPECT_EQ(Look(balancer, absl::Seconds(40)), BalanceVerdict::kMoving);
}

TEST_F(BalancerTest, AShardThatJoinsManyEvenOnesIsNotLeftEmpty) {
  constexpr PlacementShape kWide{.layer_count = 1, .expert_count = 80};
  Balancer balancer(Config(), kWide, {kLayer});
  shards_.clear();
  for (uint32_t id = 0; id < 20; ++id) AddShard(id, id * 4, id * 4 + 4);
  const auto look = [&](absl::Duration now) {
    return Look(balancer, now, /*disturbed=*/false, kWide);
  };
  look(absl::Seconds(0));
  EXPECT_EQ(look(absl::Seconds(30)), BalanceVerdict::kUnknown);
  AddShard(20, 0, 0);  // balance 20/21: above the threshold, and a twentieth to gain
  look(absl::Seconds(31));
  ASSERT_EQ(look(absl::Seconds(33)), BalanceVerdict::kMoving);
  EXPECT_GT(balancer.last_look().plan.loads, 0u);
}

TEST_F(BalancerTest, FrozenItMovesOnlyWhenTriggered) {
  Balancer balancer(Config(), kShape, {kLayer});
  Load(balancer, skewed_);
  balancer.Freeze();
  Look(balancer, absl::Seconds(0));
  EXPECT_EQ(Look(balancer, absl::Seconds(30)), BalanceVerdict::kFrozen);
  EXPECT_TRUE(balancer.migration().idle());
  balancer.Trigger(/*moves=*/false);  // a dry run
  EXPECT_EQ(Look(balancer, absl::Seconds(31)), BalanceVerdict::kFrozen);
  EXPECT_FALSE(balancer.last_look().plan.moves.empty());
  balancer.Trigger(/*moves=*/true);
  EXPECT_EQ(Look(balancer, absl::Seconds(32)), BalanceVerdict::kMoving);
  EXPECT_TRUE(balancer.frozen());
}

TEST_F(BalancerTest, ADryRunMovesNothingAndChangesNoInterval) {
  Balancer balancer(Config(), kShape, {kLayer});
  Load(balancer, even_);
  Look(balancer, absl::Seconds(0));
  ASSERT_EQ(Look(balancer, absl::Seconds(1)), BalanceVerdict::kGood);  // its shards just came
  Load(balancer, skewed_, 100'000);
  balancer.Trigger(/*moves=*/false);
  EXPECT_EQ(Look(balancer, absl::Seconds(2)), BalanceVerdict::kDryRun);
  EXPECT_FALSE(balancer.last_look().plan.moves.empty());
  EXPECT_TRUE(balancer.migration().idle());
  EXPECT_EQ(balancer.rounds(), 0u);
  for (int at = 3; at < 11; ++at) {  // asked again and again it puts nothing off
    balancer.Trigger(/*moves=*/false);
    EXPECT_EQ(Look(balancer, absl::Seconds(at)), BalanceVerdict::kDryRun);
  }
  EXPECT_EQ(Look(balancer, absl::Seconds(11)), BalanceVerdict::kMoving) << "its interval is over";
}

TEST_F(BalancerTest, ATriggerDuringADryRunMoves) {
  Balancer balancer(Config(), kShape, {kLayer});
  Load(balancer, skewed_);
  Look(balancer, absl::Seconds(0));
  balancer.Trigger(/*moves=*/false);
  balancer.Trigger(/*moves=*/true);
  EXPECT_EQ(Look(balancer, absl::Seconds(1)), BalanceVerdict::kMoving);
}

TEST_F(BalancerTest, AFreezeForgetsATrigger) {
  Balancer balancer(Config(), kShape, {kLayer});
  Load(balancer, skewed_);
  Look(balancer, absl::Seconds(0));
  balancer.Trigger(/*moves=*/true);
  balancer.Freeze();
  EXPECT_EQ(Look(balancer, absl::Seconds(11)), BalanceVerdict::kFrozen);
  EXPECT_TRUE(balancer.migration().idle());
}

TEST_F(BalancerTest, ThawedItIsAsConfigured) {
  for (const bool moves : {false, true}) {
    BalancerConfig config = Config();
    config.moves = moves;
    Balancer balancer(config, kShape, {kLayer});
    EXPECT_EQ(balancer.frozen(), !moves);
    balancer.Freeze();
    EXPECT_TRUE(balancer.frozen());
    balancer.Thaw();
    EXPECT_EQ(balancer.frozen(), !moves);
    Load(balancer, skewed_);
    Look(balancer, absl::Seconds(0));
    EXPECT_EQ(Look(balancer, absl::Seconds(30)),
              moves ? BalanceVerdict::kMoving : BalanceVerdict::kFrozen);
  }
}

TEST_F(BalancerTest, ItKnowsEnoughAsSoonAsTheWindowHoldsEnough) {
  BalancerConfig config = Config();
  config.window_steps = config.steps_min = 200;  // the least that is accepted
  Balancer balancer(config, kShape, {kLayer});
  // Slowly, as an idle cluster would.
  for (int second = 0; second < 3000; ++second) {
    Load(balancer, {5, 1, 1, 1, 1, 1, 0, 0}, /*steps=*/1);
  }
  Look(balancer, absl::Seconds(0));
  EXPECT_NE(Look(balancer, absl::Seconds(30)), BalanceVerdict::kUnknown);
}

// What operators read.
TEST_F(BalancerTest, ItsReportIsJson) {
  Balancer balancer(Config(), kShape, {kLayer});
  const auto read = [&](absl::Duration now, size_t moves_max = 1000) {
    const std::string text =
        BalanceJson(balancer, {.window = 0.7, .step = 0.5, .steps = 1000}, now, moves_max);
    auto document = JsonDocument::Parse(text);
    EXPECT_TRUE(document.ok()) << document.status() << text;
    return *std::move(document);
  };
  {
    const JsonDocument document = read(absl::Seconds(5));
    EXPECT_EQ(*document.root().Find("verdict")->AsString(), "none");
    EXPECT_EQ(*document.root().Find("look_age_seconds")->AsNumber(), 0);
    EXPECT_EQ(document.root().Find("moves")->AsArray()->size(), 0u);
  }
  Load(balancer, skewed_);
  Look(balancer, absl::Seconds(0));
  ASSERT_EQ(Look(balancer, absl::Seconds(30)), BalanceVerdict::kMoving);
  const JsonDocument document = read(absl::Seconds(32));
  const JsonValue root = document.root();
  const auto number = [&](const char* name) { return *root.Find(name)->AsNumber(); };
  const BalancePlan& plan = balancer.last_look().plan;
  EXPECT_EQ(*root.Find("verdict")->AsString(), "moving");
  EXPECT_FALSE(*root.Find("frozen")->AsBool());
  EXPECT_EQ(number("look_age_seconds"), 2);
  EXPECT_NEAR(number("balance"), plan.before, 1e-5);
  EXPECT_NEAR(number("planned"), plan.after, 1e-5);
  EXPECT_NEAR(number("gain"), plan.gain(), 1e-5);
  EXPECT_EQ(number("steps"), 1000);
  EXPECT_EQ(number("window_balance"), 0.7);
  EXPECT_EQ(number("step_balance"), 0.5);
  EXPECT_EQ(number("rounds"), 1);
  EXPECT_EQ(number("loads"), static_cast<double>(plan.loads));
  EXPECT_EQ(number("pending"), static_cast<double>(plan.moves.size()));
  EXPECT_FALSE(*root.Find("costs")->Find("fitted")->AsBool());
  const auto moves = *root.Find("moves")->AsArray();
  ASSERT_EQ(moves.size(), plan.moves.size());
  for (size_t i = 0; i < moves.size(); ++i) {
    const BalanceMove& move = plan.moves[i];
    EXPECT_EQ(*moves[i].Find("expert")->AsNumber(), ToIndex(move.expert));
    EXPECT_EQ(moves[i].Find("from").has_value(), move.kind != BalanceMove::Kind::kCopy);
    EXPECT_EQ(moves[i].Find("to").has_value(), move.kind != BalanceMove::Kind::kDrop);
  }
  EXPECT_EQ(read(absl::Seconds(32), 1).root().Find("moves")->AsArray()->size(), 1u);
}

TEST_F(BalancerTest, AFreezeEndsThePursuitOfTheTarget) {
  BalancerConfig config = Config();
  config.loads_max = 1;  // a round is not enough
  config.gain_min = 0.001;
  Balancer balancer(config, kShape, {kLayer});
  Load(balancer, {800, 300, 300, 100, 50, 50, 50, 50});
  Look(balancer, absl::Seconds(0));
  ASSERT_EQ(Look(balancer, absl::Seconds(30)), BalanceVerdict::kMoving);
  // Above the threshold from here on, below the target.
  balancer.Freeze();
  balancer.Thaw();
  ASSERT_TRUE(balancer.migration().idle());
  Load(balancer, nearly_, 100'000);
  EXPECT_EQ(Look(balancer, absl::Seconds(60)), BalanceVerdict::kGood);
}

TEST_F(BalancerTest, WhileDisturbedItWaits) {
  Balancer balancer(Config(), kShape, {kLayer});
  Load(balancer, skewed_);
  Look(balancer, absl::Seconds(0));
  EXPECT_EQ(Look(balancer, absl::Seconds(30), /*disturbed=*/true), BalanceVerdict::kBusy);
  EXPECT_EQ(Look(balancer, absl::Seconds(32)), BalanceVerdict::kMoving);  // soon again
}

}  // namespace
}  // namespace tessera::router
