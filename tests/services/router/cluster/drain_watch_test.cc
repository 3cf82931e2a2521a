#include "services/router/cluster/drain_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::router {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using wire::ShardState;

constexpr ShardId kShard{3};
constexpr uint64_t kLife = 7;
constexpr absl::Duration kNow = absl::Seconds(100);
constexpr absl::Duration kMemory = absl::Seconds(65);

class DrainWatchTest : public ::testing::Test {
 protected:
  void Lives(ShardState state, uint64_t incarnation = kLife) {
    living_[kShard].shard = kShard;
    living_[kShard].incarnation = incarnation;
    living_[kShard].state = state;
  }
  std::vector<ShardId> Unfinished(absl::Duration now = kNow) {
    return watch_.TakeUnfinished(
        [this](ShardId shard) -> const wire::ShardDescriptor* {
          const auto it = living_.find(shard);
          return it == living_.end() ? nullptr : &it->second;
        },
        now);
  }

  DrainWatch watch_{kMemory};
  std::map<ShardId, wire::ShardDescriptor> living_;
};

TEST_F(DrainWatchTest, OneThatIsReleasedAndGoesIsNoNews) {
  Lives(ShardState::kReady);
  watch_.Asked(kShard, kLife, kNow);
  EXPECT_THAT(Unfinished(), IsEmpty());
  watch_.Released(kShard, kLife);
  Lives(ShardState::kDraining);
  EXPECT_THAT(Unfinished(), IsEmpty());
  living_.clear();
  EXPECT_THAT(Unfinished(), IsEmpty());
}

TEST_F(DrainWatchTest, OneThatSaysDrainingBeforeItIsReleasedIsToldOnce) {
  Lives(ShardState::kReady);
  watch_.Asked(kShard, kLife, kNow);
  Lives(ShardState::kDraining);
  EXPECT_THAT(Unfinished(), ElementsAre(kShard));
  living_.clear();
  EXPECT_THAT(Unfinished(), IsEmpty());
}

TEST_F(DrainWatchTest, OneThatVanishesBeforeItIsReleasedIsToldOnce) {
  Lives(ShardState::kReady);
  watch_.Asked(kShard, kLife, kNow);
  living_.clear();
  EXPECT_THAT(Unfinished(), ElementsAre(kShard));
  EXPECT_THAT(Unfinished(), IsEmpty());
}

TEST_F(DrainWatchTest, OneThatIsAlreadyBackInAnotherLifeWentToo) {
  Lives(ShardState::kReady);
  watch_.Asked(kShard, kLife, kNow);
  Lives(ShardState::kReady, kLife + 1);
  EXPECT_THAT(Unfinished(), ElementsAre(kShard));
  watch_.Released(kShard, kLife);  // comes too late to matter
  EXPECT_THAT(Unfinished(), IsEmpty());
}

TEST_F(DrainWatchTest, ANewLifeThatAsksIsWatchedAnew) {
  Lives(ShardState::kReady);
  watch_.Asked(kShard, kLife, kNow);
  watch_.Released(kShard, kLife);
  Lives(ShardState::kReady, kLife + 1);
  watch_.Asked(kShard, kLife + 1, kNow);
  living_.clear();
  EXPECT_THAT(Unfinished(), ElementsAre(kShard));
}

TEST_F(DrainWatchTest, AWishThatIsRepeatedLastsAndOneThatIsNotIsForgotten) {
  Lives(ShardState::kReady);
  watch_.Asked(kShard, kLife, kNow);
  watch_.Asked(kShard, kLife, kNow + kMemory);
  EXPECT_THAT(Unfinished(kNow + 2 * kMemory), IsEmpty());
  EXPECT_THAT(Unfinished(kNow + 2 * kMemory + absl::Nanoseconds(1)), IsEmpty());  // given up
  living_.clear();
  EXPECT_THAT(Unfinished(kNow + 2 * kMemory + absl::Nanoseconds(1)), IsEmpty());
  Lives(ShardState::kReady);
  watch_.Asked(kShard, kLife, kNow);
  watch_.Asked(kShard, kLife, kNow + kMemory);
  living_.clear();
  EXPECT_THAT(Unfinished(kNow + 2 * kMemory), ElementsAre(kShard));
}

TEST_F(DrainWatchTest, AWishThatIsWorkedOnLastsAndIsToldOnceAllTheSame) {
  Lives(ShardState::kReady);
  watch_.StillAsked(kShard, kLife, kNow);  // nobody asked
  living_.clear();
  EXPECT_THAT(Unfinished(), IsEmpty());
  Lives(ShardState::kReady);
  watch_.Asked(kShard, kLife, kNow);
  watch_.StillAsked(kShard, kLife, kNow + kMemory);
  EXPECT_THAT(Unfinished(kNow + 2 * kMemory), IsEmpty());
  Lives(ShardState::kDraining);
  EXPECT_THAT(Unfinished(kNow + 2 * kMemory), ElementsAre(kShard));
  watch_.StillAsked(kShard, kLife, kNow + 2 * kMemory);
  EXPECT_THAT(Unfinished(kNow + 2 * kMemory), IsEmpty());
}

TEST_F(DrainWatchTest, ShardsThatNeverAskedMayGo) {
  Lives(ShardState::kDraining);
  EXPECT_THAT(Unfinished(), IsEmpty());
  living_.clear();
  EXPECT_THAT(Unfinished(), IsEmpty());
}

}  // namespace
}  // namespace tessera::router
