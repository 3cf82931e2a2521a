#include "services/router/cluster/shard_roster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::router {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using wire::ShardActivity;
using wire::ShardCondition;
using wire::ShardState;

constexpr absl::Duration kNow = absl::Seconds(100);

ShardSight Live(uint32_t shard, float busy = 0) {
  return {ShardId{shard}, ShardState::kReady, true, busy};
}
ShardActivity Is(uint32_t shard, ShardCondition condition, float busy = 0) {
  return {ShardId{shard}, condition, busy, {}};
}

TEST(ShardRosterTest, ShowsWhatIsThere) {
  ShardRoster roster;
  EXPECT_THAT(roster.Activities(), IsEmpty());
  roster.Update(std::vector<ShardSight>{Live(0, 0.5f),
                                        {ShardId{1}, ShardState::kLoading, false, 0},
                                        {ShardId{2}, ShardState::kReady, false, 0.1f},
                                        {ShardId{3}, ShardState::kDraining, true, 0}},
                kNow);
  EXPECT_THAT(
      roster.Activities(),
      ElementsAre(Is(0, ShardCondition::kLive, 0.5f), Is(1, ShardCondition::kLoading),
                  Is(2, ShardCondition::kUnreachable, 0.1f), Is(3, ShardCondition::kDraining)));
}

TEST(ShardRosterTest, ALostShardIsRememberedUntilItIsBack) {
  ShardRoster roster;
  roster.Update(std::vector<ShardSight>{Live(0), Live(1, 0.7f)}, kNow);
  roster.Update(std::vector<ShardSight>{Live(0)}, kNow + absl::Seconds(1));
  EXPECT_THAT(roster.Activities(),
              ElementsAre(Is(0, ShardCondition::kLive), Is(1, ShardCondition::kLost)));
  roster.Update(std::vector<ShardSight>{Live(0), Live(1)}, kNow + absl::Seconds(2));
  EXPECT_THAT(roster.Activities(),
              ElementsAre(Is(0, ShardCondition::kLive), Is(1, ShardCondition::kLive)));
}

TEST(ShardRosterTest, OneThatNeverComesBackIsForgottenAtLast) {
  ShardRoster roster;
  roster.Update(std::vector<ShardSight>{Live(1)}, kNow);
  roster.Update({}, kNow + absl::Seconds(1));
  roster.Update({}, kNow + ShardRoster::kMemory);
  EXPECT_THAT(roster.Activities(), ElementsAre(Is(1, ShardCondition::kLost)));
  roster.Update({}, kNow + absl::Seconds(1) + ShardRoster::kMemory);
  EXPECT_THAT(roster.Activities(), IsEmpty());
}

TEST(ShardRosterTest, OneThatDrainedWasMeantToGo) {
  ShardRoster roster;
  roster.Update(std::vector<ShardSight>{{ShardId{1}, ShardState::kDraining, true, 0}}, kNow);
  roster.Update({}, kNow + absl::Seconds(1));
  EXPECT_THAT(roster.Activities(), IsEmpty());
}

}  // namespace
}  // namespace tessera::router
