#include "services/router/cluster/shard_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tessera::router {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using wire::HeldUnit;
using wire::ShardState;

wire::ModelIdentity SampleModel() {
  return {.model_hash = wire::HashText(1),
          .d_model = 8,
          .layer_count = 3,
          .expert_count = 4,
          .expert_width = 16,
          .top_k = 2,
          .expert_dtype = "bf16",
          .kernel_level = "avx2"};
}

HeldUnit Held(uint32_t layer, uint32_t expert, uint32_t slot, uint64_t version = 1) {
  return {LayerIndex{layer}, ExpertId{expert}, slot, version};
}

wire::ShardDescriptor Shard(uint32_t id, uint64_t incarnation, std::vector<HeldUnit> held,
                            ShardState state = ShardState::kReady) {
  return {.shard = ShardId{id},
          .incarnation = incarnation,
          .grpc_address = "a:1",
          .data_address = "loopback:a",
          .state = state,
          .slot_count = 8,
          .held = std::move(held)};
}

class ShardRegistryTest : public ::testing::Test {
 protected:
  absl::StatusOr<Epoch> Register(wire::ShardDescriptor shard) {
    return registry_.Register(SampleModel(), std::move(shard), now_);
  }
  absl::StatusOr<HeartbeatAnswer> Beat(uint32_t id, uint64_t incarnation, uint64_t version,
                                       std::vector<HeldUnit> held = {},
                                       ShardState state = ShardState::kReady) {
    return registry_.Heartbeat({ShardId{id}, incarnation, state, version, std::move(held)}, now_);
  }
  size_t Copies(uint32_t layer, uint32_t expert) const {
    return registry_.Snapshot()->placement.replicas(LayerIndex{layer}, ExpertId{expert}).size();
  }
  uint64_t epoch() const { return static_cast<uint64_t>(registry_.Snapshot()->placement.epoch()); }

  absl::Duration now_ = absl::Seconds(100);
  ShardRegistry registry_{{.model = SampleModel(), .epoch_first = 10, .shards_max = 3}};
};

TEST_F(ShardRegistryTest, BeginsEmptyAtTheFirstEpoch) {
  EXPECT_EQ(epoch(), 10u);
  EXPECT_TRUE(registry_.Snapshot()->shards.empty());
  EXPECT_EQ(registry_.Snapshot()->placement.shape().layer_count, 3u);
}

TEST_F(ShardRegistryTest, AReadyShardStandsInTheMapALoadingOneWithoutUnits) {
  ASSERT_EQ(Register(Shard(0, 5, {Held(1, 2, 0)}, ShardState::kLoading)).value(), Epoch{11});
  EXPECT_EQ(Copies(1, 2), 0u);
  ASSERT_EQ(registry_.Snapshot()->shards.size(), 1u);
  EXPECT_TRUE(registry_.Snapshot()->shards[0].held.empty());
  EXPECT_EQ(Beat(0, 5, 1, {Held(1, 2, 0)})->epoch, Epoch{12});
  EXPECT_EQ(Copies(1, 2), 1u);
}

TEST_F(ShardRegistryTest, TheEpochRisesOnlyWithTheMap) {
  wire::ShardDescriptor shard = Shard(0, 5, {Held(1, 2, 0)});
  shard.held_version = 1;
  ASSERT_TRUE(Register(shard).ok());
  const auto before = registry_.Snapshot();
  ASSERT_TRUE(Register(shard).ok()) << "the same again";
  EXPECT_FALSE(Beat(0, 5, 1)->held_wanted) << "told when it registered";
  EXPECT_TRUE(registry_.Tick(now_).empty());
  EXPECT_EQ(registry_.Snapshot(), before);
  ASSERT_TRUE(Beat(0, 5, 2, {Held(1, 2, 0, /*version=*/2)}).ok());
  const auto after = registry_.Snapshot();
  EXPECT_GT(after->placement.epoch(), before->placement.epoch());
  EXPECT_EQ(after->shards[0].held_version, 2u);
  ASSERT_TRUE(Beat(0, 5, 3, {Held(1, 2, 0, /*version=*/2)}).ok());
  EXPECT_GT(epoch(), static_cast<uint64_t>(after->placement.epoch()))
      << "followers compare versions, so a new one is news though the units are the same";
}

TEST_F(ShardRegistryTest, ARegistrationThatALoadsAnswerOvertookKeepsTheNewerList) {
  wire::ShardDescriptor shard = Shard(0, 5, {Held(1, 2, 0)});
  shard.held_version = 10;
  ASSERT_TRUE(Register(shard).ok());
  ASSERT_TRUE(registry_.SetHeld(ShardId{0}, 5, 11, {Held(1, 2, 0), Held(1, 3, 1)}).ok());
  EXPECT_EQ(registry_.Snapshot()->shards[0].held_version, 11u);
  ASSERT_TRUE(Register(shard).ok());
  EXPECT_EQ(registry_.Snapshot()->shards[0].held_version, 11u);
  EXPECT_EQ(Copies(1, 3), 1u);
  shard.incarnation = 6;  // another life, whose versions begin anew
  registry_.Suspect(ShardId{0}, 5);
  ASSERT_TRUE(Register(shard).ok());
  EXPECT_EQ(registry_.Snapshot()->shards[0].held_version, 10u);
  EXPECT_EQ(Copies(1, 3), 0u);
}

TEST_F(ShardRegistryTest, OfAShardThatIsNotReadyNoUnitsAndNoVersionStandInTheMap) {
  wire::ShardDescriptor shard = Shard(0, 5, {Held(1, 2, 0)});
  shard.state = wire::ShardState::kLoading;
  shard.held_version = 7;
  ASSERT_TRUE(Register(shard).ok());
  EXPECT_EQ(registry_.Snapshot()->shards[0].held_version, 0u);
  EXPECT_EQ(Copies(1, 2), 0u);
  ASSERT_TRUE(Beat(0, 5, 7).ok()) << "ready";
  EXPECT_EQ(registry_.Snapshot()->shards[0].held_version, 7u);
  EXPECT_EQ(Copies(1, 2), 1u);
}

TEST_F(ShardRegistryTest, SilenceTakesAShardOut) {
  ASSERT_TRUE(Register(Shard(0, 5, {Held(1, 2, 0)})).ok());
  ASSERT_TRUE(Register(Shard(1, 6, {Held(1, 2, 0), Held(1, 3, 1)})).ok());
  now_ += absl::Milliseconds(900);
  ASSERT_TRUE(Beat(1, 6, 1, {Held(1, 2, 0), Held(1, 3, 1)}).ok());
  EXPECT_TRUE(registry_.Tick(now_).empty());
  now_ += absl::Milliseconds(101);
  EXPECT_THAT(registry_.Tick(now_), ElementsAre(ShardId{0}));
  EXPECT_EQ(Copies(1, 2), 1u);
  EXPECT_EQ(registry_.Snapshot()->shards.size(), 1u);
  EXPECT_EQ(Beat(0, 5, 1).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(Register(Shard(0, 5, {Held(1, 2, 0)})).ok()) << "it comes back";
  EXPECT_EQ(Copies(1, 2), 2u);
}

TEST_F(ShardRegistryTest, ASecondLivingShardOfAnIdIsRefused) {
  ASSERT_TRUE(Register(Shard(0, 5, {})).ok());
  const auto second = Register(Shard(0, 6, {}));
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(second.status().message(), HasSubstr("incarnation 5 lives at a:1"));
  EXPECT_TRUE(Beat(0, 5, 1).ok()) << "the first one lives on";
  EXPECT_EQ(Beat(0, 6, 1).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ShardRegistryTest, AShardWithoutCallsMayBeSilentLonger) {
  ShardRegistry registry({.model = SampleModel()});
  EXPECT_EQ(registry.SilentAt(), absl::InfiniteDuration());
  ASSERT_TRUE(registry.Register(SampleModel(), Shard(0, 5, {}), now_).ok());
  EXPECT_EQ(registry.SilentAt(), now_ + absl::Seconds(1) + absl::Nanoseconds(1));
  uint64_t sequence = 0;
  const auto beat = [&](uint64_t calls, ShardState state = ShardState::kReady) {
    return registry
        .Heartbeat({.shard = ShardId{0},
                    .incarnation = 5,
                    .state = state,
                    .held_version = 1,
                    .sequence = ++sequence,
                    .calls_total = calls},
                   now_, /*idle_pause=*/absl::Milliseconds(250))
        ->pause;
  };
  EXPECT_EQ(beat(0), absl::ZeroDuration()) << "its list is wanted";
  EXPECT_EQ(beat(0), absl::Milliseconds(250));
  const absl::Duration silent_at = registry.SilentAt();
  EXPECT_EQ(silent_at, now_ + absl::Milliseconds(1250) + absl::Nanoseconds(1));
  EXPECT_TRUE(registry.Tick(silent_at - absl::Nanoseconds(1)).empty());
  EXPECT_EQ(registry.Register(SampleModel(), Shard(0, 6, {}), now_ + absl::Milliseconds(800))
                .status()
                .code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(beat(3), absl::ZeroDuration()) << "it has calls";
  EXPECT_EQ(registry.SilentAt(), now_ + absl::Seconds(1) + absl::Nanoseconds(1));
  EXPECT_EQ(beat(3), absl::Milliseconds(250));
  EXPECT_EQ(beat(3, ShardState::kDraining), absl::ZeroDuration());
  EXPECT_EQ(beat(3), absl::Milliseconds(250));
  EXPECT_EQ(registry.Tick(silent_at).size(), 1u);
  EXPECT_EQ(registry.SilentAt(), absl::InfiniteDuration());
}

TEST_F(ShardRegistryTest, ANewIncarnationReplacesASilentOrSuspectedOne) {
  ASSERT_TRUE(Register(Shard(0, 5, {Held(0, 0, 0)})).ok());
  now_ += absl::Milliseconds(600);
  ASSERT_TRUE(Register(Shard(0, 6, {Held(0, 1, 0)})).ok());
  EXPECT_EQ(Copies(0, 0), 0u);
  EXPECT_EQ(Copies(0, 1), 1u);
  EXPECT_EQ(Beat(0, 5, 1).status().code(), absl::StatusCode::kNotFound) << "stale";
  registry_.Suspect(ShardId{0}, 5);
  EXPECT_EQ(Register(Shard(0, 7, {})).status().code(), absl::StatusCode::kAlreadyExists)
      << "suspicion of an older life";
  registry_.Suspect(ShardId{0}, 6);
  ASSERT_TRUE(Beat(0, 6, 1, {Held(0, 1, 0)}).ok());
  EXPECT_EQ(Register(Shard(0, 7, {})).status().code(), absl::StatusCode::kAlreadyExists)
      << "a heartbeat clears suspicion";
  registry_.Suspect(ShardId{0}, 6);
  EXPECT_TRUE(Register(Shard(0, 7, {})).ok());
}

TEST_F(ShardRegistryTest, LostShardsLeaveAtOnce) {
  ASSERT_TRUE(Register(Shard(0, 5, {Held(0, 0, 0)})).ok());
  EXPECT_FALSE(registry_.Lost(ShardId{0}, 4));
  EXPECT_FALSE(registry_.Lost(ShardId{1}, 5));
  EXPECT_EQ(Copies(0, 0), 1u);
  EXPECT_TRUE(registry_.Lost(ShardId{0}, 5));
  EXPECT_EQ(Copies(0, 0), 0u);
}

TEST_F(ShardRegistryTest, AnotherModelIsRefusedWithBothValues) {
  wire::ModelIdentity other = SampleModel();
  other.model_hash = wire::HashText(2);
  const auto refused = registry_.Register(other, Shard(0, 5, {}), now_);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(), HasSubstr(wire::HashText(1)));
  EXPECT_THAT(refused.status().message(), HasSubstr(wire::HashText(2)));
  other = SampleModel();
  other.kernel_level = "amx";
  EXPECT_TRUE(registry_.Register(other, Shard(0, 5, {}), now_).ok());
  ShardRegistry strict({.model = SampleModel(), .strict = true});
  EXPECT_EQ(strict.Register(other, Shard(0, 5, {}), now_).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(ShardRegistryTest, ImpossibleDescriptorsAreRefused) {
  const auto refuse = [&](const wire::ShardDescriptor& shard, const char* why) {
    const auto refused = Register(shard);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << why;
    EXPECT_THAT(refused.status().message(), HasSubstr(why));
  };
  refuse(Shard(0, 5, {Held(3, 0, 0)}), "out of range");
  refuse(Shard(0, 5, {Held(0, 4, 0)}), "out of range");
  refuse(Shard(0, 5, {Held(0, 0, 8)}), "out of range");
  refuse(Shard(0, 5, {Held(0, 0, 0), Held(0, 0, 1)}), "named twice");
  refuse(Shard(0, 5, {Held(0, 0, 0), Held(0, 1, 0)}), "shares slot 0");
  refuse(Shard(65536, 5, {}), "beyond 65535");
  refuse(Shard(0, 0, {}), "no incarnation");
  wire::ShardDescriptor nowhere = Shard(0, 5, {});
  nowhere.grpc_address.clear();
  refuse(nowhere, "needs a grpc_address");
  EXPECT_EQ(epoch(), 10u) << "nothing of it was published";
}

TEST_F(ShardRegistryTest, ImpossibleHeartbeatsChangeNothing) {
  ASSERT_TRUE(Register(Shard(0, 5, {Held(0, 0, 0)})).ok());
  EXPECT_EQ(Beat(0, 5, 1, {Held(9, 0, 0)}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(registry_.SetHeld(ShardId{0}, 5, 1, {Held(0, 0, 9)}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(registry_.SetHeld(ShardId{0}, 4, 1, {}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Copies(0, 0), 1u);
}

TEST_F(ShardRegistryTest, OnlySoManyShards) {
  for (uint32_t id = 0; id < 3; ++id) ASSERT_TRUE(Register(Shard(id, 5, {})).ok());
  EXPECT_EQ(Register(Shard(3, 5, {})).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(Register(Shard(2, 5, {})).ok()) << "who is in may register again";
}

TEST_F(ShardRegistryTest, UnitsAreAskedForOnceAndThenBelieved) {
  ASSERT_TRUE(Register(Shard(0, 5, {Held(0, 0, 0)})).ok());
  EXPECT_TRUE(Beat(0, 5, 7)->held_wanted);
  EXPECT_EQ(Copies(0, 0), 1u) << "until told otherwise";
  EXPECT_FALSE(Beat(0, 5, 7, {Held(0, 1, 0)})->held_wanted);
  EXPECT_EQ(Copies(0, 0), 0u);
  EXPECT_EQ(Copies(0, 1), 1u);
  EXPECT_TRUE(Beat(0, 5, 8)->held_wanted);
  EXPECT_FALSE(Beat(0, 5, 8)->held_wanted) << "asked, and it holds nothing";
  EXPECT_EQ(Copies(0, 1), 0u);
}

TEST_F(ShardRegistryTest, WhatIsOlderThanALoadIsNotBelieved) {
  ASSERT_TRUE(Register(Shard(0, 5, {Held(0, 0, 0)})).ok());
  ASSERT_TRUE(Beat(0, 5, 7, {Held(0, 0, 0)}).ok());
  ASSERT_TRUE(registry_.SetHeld(ShardId{0}, 5, 9, {Held(0, 0, 0), Held(0, 1, 1)}).ok());
  EXPECT_EQ(Copies(0, 1), 1u);
  ASSERT_TRUE(Beat(0, 5, 8, {Held(0, 0, 0)}).ok()) << "was under way";
  EXPECT_EQ(Copies(0, 1), 1u);
  ASSERT_TRUE(Beat(0, 5, 10, {Held(0, 0, 0), Held(0, 2, 2)}).ok());
  EXPECT_EQ(Copies(0, 1), 0u);
  ASSERT_TRUE(registry_.SetHeld(ShardId{0}, 5, 9, {Held(0, 0, 0), Held(0, 1, 1)}).ok());
  EXPECT_EQ(Copies(0, 2), 1u) << "the answer was late";
}

TEST_F(ShardRegistryTest, ADrainedShardStaysDrained) {
  ASSERT_TRUE(Register(Shard(0, 5, {Held(0, 0, 0)})).ok());
  EXPECT_EQ(registry_.Drain(ShardId{0}, 4).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(registry_.Drain(ShardId{1}, 0).status().code(), absl::StatusCode::kNotFound);
  const auto epoch_without = registry_.Drain(ShardId{0}, 0);
  ASSERT_TRUE(epoch_without.ok());
  EXPECT_EQ(*epoch_without, registry_.Snapshot()->placement.epoch());
  EXPECT_EQ(Copies(0, 0), 0u);
  ASSERT_TRUE(Beat(0, 5, 1, {Held(0, 0, 0)}, ShardState::kReady).ok());
  ASSERT_TRUE(Register(Shard(0, 5, {Held(0, 0, 0)})).ok());
  EXPECT_EQ(Copies(0, 0), 0u) << "the same life does not come back";
  registry_.Suspect(ShardId{0}, 5);
  ASSERT_TRUE(Register(Shard(0, 6, {Held(0, 0, 0)})).ok());
  EXPECT_EQ(Copies(0, 0), 1u) << "the next one does";
}

TEST_F(ShardRegistryTest, HiddenCopiesLeaveTheMapAndComeBack) {
  ASSERT_TRUE(Register(Shard(0, 5, {Held(0, 0, 0), Held(0, 1, 1)})).ok());
  const std::vector<Unit> units = {{LayerIndex{0}, ExpertId{0}}, {LayerIndex{2}, ExpertId{2}}};
  EXPECT_EQ(registry_.Hide(ShardId{0}, 6, units).code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(registry_.Hide(ShardId{0}, 5, units).ok());
  EXPECT_EQ(Copies(0, 0), 0u);
  EXPECT_EQ(Copies(0, 1), 1u);
  registry_.Unhide(ShardId{0}, units);
  EXPECT_EQ(Copies(0, 0), 1u);
  ASSERT_TRUE(registry_.Hide(ShardId{0}, 5, units).ok());
  ASSERT_TRUE(registry_.SetHeld(ShardId{0}, 5, 1, {Held(0, 1, 1)}).ok()) << "let go";
  ASSERT_TRUE(registry_.SetHeld(ShardId{0}, 5, 2, {Held(0, 0, 3), Held(0, 1, 1)}).ok());
  EXPECT_EQ(Copies(0, 0), 1u) << "loaded again, no longer hidden";
}

TEST_F(ShardRegistryTest, HiddenCopiesStayHiddenWhenTheirShardRegistersAgain) {
  ASSERT_TRUE(Register(Shard(0, 5, {Held(0, 0, 0), Held(0, 1, 1)})).ok());
  const std::vector<Unit> units = {{LayerIndex{0}, ExpertId{0}}};
  ASSERT_TRUE(registry_.Hide(ShardId{0}, 5, units).ok());
  ASSERT_TRUE(Register(Shard(0, 5, {Held(0, 0, 0), Held(0, 1, 1)})).ok());
  EXPECT_EQ(Copies(0, 0), 0u) << "it may be about to be dropped";
  EXPECT_EQ(Copies(0, 1), 1u);
  ASSERT_TRUE(Register(Shard(0, 5, {Held(0, 1, 1)})).ok()) << "let go meanwhile";
  ASSERT_TRUE(Register(Shard(0, 5, {Held(0, 0, 0), Held(0, 1, 1)})).ok());
  EXPECT_EQ(Copies(0, 0), 1u);
}

TEST_F(ShardRegistryTest, AHeartbeatFromBeforeTheRegistrationIsARepeat) {
  ASSERT_TRUE(registry_.Register(SampleModel(), Shard(0, 5, {}), now_, /*sequence=*/40).ok());
  const auto beat = [&](uint64_t sequence) {
    return registry_.Heartbeat({.shard = ShardId{0},
                                .incarnation = 5,
                                .state = ShardState::kReady,
                                .held_version = 1,
                                .sequence = sequence},
                               now_);
  };
  EXPECT_EQ(beat(40).status().code(), absl::StatusCode::kUnauthenticated)
      << "it was sent to a router before this one";
  EXPECT_TRUE(beat(41).ok());
  ASSERT_TRUE(registry_.Register(SampleModel(), Shard(0, 5, {}), now_, /*sequence=*/3).ok());
  EXPECT_EQ(beat(41).status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(beat(42).ok());
}

TEST_F(ShardRegistryTest, CountsByState) {
  ASSERT_TRUE(Register(Shard(0, 5, {}, ShardState::kLoading)).ok());
  ASSERT_TRUE(Register(Shard(1, 5, {})).ok());
  now_ += absl::Milliseconds(300);
  ASSERT_TRUE(Register(Shard(2, 5, {}, ShardState::kDraining)).ok());
  const ShardCounts counts = registry_.Counts(now_);
  EXPECT_EQ(counts.loading, 1u);
  EXPECT_EQ(counts.ready, 1u);
  EXPECT_EQ(counts.draining, 1u);
  EXPECT_EQ(counts.heartbeat_age_max, absl::Milliseconds(300));
}

// Every sequence of five events on one id with two incarnations: whatever happens, the map shows
// a unit exactly if its shard lives and is ready, and the epoch never falls.
class ExhaustiveRegistry {
 public:
  static constexpr int kEvents = 9;
  void Apply(int event) {
    const ShardId id{0};
    const uint64_t incarnation = 5 + event % 2;
    const uint64_t before = Epoch();
    switch (event) {
      case 0:
      case 1: {
        const bool taken =
            registry_.Register(SampleModel(), Shard(0, incarnation, {Held(0, 0, 0)}), now_).ok();
        const bool free =
            !alive_ || alive_ == incarnation || now_ - heard_ >= kReplaceable || suspected_;
        EXPECT_EQ(taken, free);
        if (taken) Live(incarnation);
        break;
      }
      case 2:
      case 3: {
        const bool known =
            registry_.Heartbeat({id, incarnation, ShardState::kReady, 1, {Held(0, 0, 0)}}, now_)
                .ok();
        EXPECT_EQ(known, alive_ == incarnation);
        if (known) Live(incarnation);
        break;
      }
      case 4:
      case 5:
        EXPECT_EQ(registry_.Drain(id, incarnation).ok(), alive_ == incarnation);
        if (alive_ == incarnation) drained_ = true;
        break;
      case 6:
        registry_.Suspect(id, 5);
        if (alive_ == 5u) suspected_ = true;
        break;
      case 7:
        now_ += absl::Milliseconds(700);
        break;
      case 8:
        if (now_ - heard_ > absl::Seconds(1)) alive_.reset();
        registry_.Tick(now_);
        break;
    }
    EXPECT_GE(Epoch(), before);
    const bool mapped =
        !registry_.Snapshot()->placement.replicas(LayerIndex{0}, ExpertId{0}).empty();
    EXPECT_EQ(mapped, alive_.has_value() && !drained_);
    EXPECT_EQ(registry_.Find(id) != nullptr, alive_.has_value());
  }

 private:
  static constexpr absl::Duration kReplaceable = absl::Milliseconds(600);
  uint64_t Epoch() const { return static_cast<uint64_t>(registry_.Snapshot()->placement.epoch()); }
  void Live(uint64_t incarnation) {
    if (alive_ != incarnation) drained_ = false;
    alive_ = incarnation;
    heard_ = now_;
    suspected_ = false;
  }

  ShardRegistry registry_{{.model = SampleModel()}};
  absl::Duration now_ = absl::Seconds(100);
  absl::Duration heard_;
  std::optional<uint64_t> alive_;
  bool drained_ = false;
  bool suspected_ = false;
};

TEST(ShardRegistryExhaustiveTest, EverySequenceOfFiveEvents) {
  int total = 1;
  for (int i = 0; i < 5; ++i) total *= ExhaustiveRegistry::kEvents;
  for (int code = 0; code < total && !::testing::Test::HasFailure(); ++code) {
    ExhaustiveRegistry run;
    std::string events;
    for (int i = 0, rest = code; i < 5; ++i, rest /= ExhaustiveRegistry::kEvents) {
      events += static_cast<char>('0' + rest % ExhaustiveRegistry::kEvents);
      SCOPED_TRACE(events);
      run.Apply(rest % ExhaustiveRegistry::kEvents);
    }
  }
}

}  // namespace
}  // namespace tessera::router
