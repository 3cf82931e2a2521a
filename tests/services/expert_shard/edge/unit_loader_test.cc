#include "services/expert_shard/edge/unit_loader.h"

#include <gtest/gtest.h>

#include <atomic>

#include "tests/services/expert_shard/loaded_model.h"

namespace tessera::expert_shard {
namespace {

ExpertUnit Unit(uint32_t layer, uint32_t expert) { return {LayerIndex{layer}, ExpertId{expert}}; }

class UnitLoaderTest : public ::testing::Test {
 protected:
  absl::StatusOr<LoadOutcome> Run(LoadOrder order) {
    absl::StatusOr<LoadOutcome> result = absl::UnknownError("not done");
    absl::Notification done;
    loader_.Submit(std::move(order), [&](absl::StatusOr<LoadOutcome> outcome) {
      result = std::move(outcome);
      done.Notify();
    });
    done.WaitForNotification();
    return result;
  }

  const LoadedModel model_;
  RealClock clock_;
  std::unique_ptr<ExpertStore> store_ =
      model_.Load(std::vector<ExpertUnit>{Unit(1, 0), Unit(1, 1)}, {.slots_spare = 2});
  std::atomic<int> changes_{0};
  UnitLoader loader_{*store_, clock_, [this] { ++changes_; }};
};

TEST_F(UnitLoaderTest, LoadsThenDrops) {
  const auto outcome =
      Run({.load = {{Unit(2, 3), 2}, {Unit(1, 0), 0}}, .drop = {{Unit(1, 1), 1}, {Unit(4, 4), 3}}});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_GT(outcome->read_bytes, 0u);
  EXPECT_EQ(changes_.load(), 2);
  const auto table = store_->Snapshot();
  EXPECT_EQ(table->AtSlot(2)->unit, Unit(2, 3));
  EXPECT_EQ(table->AtSlot(1), nullptr);
  EXPECT_EQ(table->AtSlot(0)->unit, Unit(1, 0));
}

TEST_F(UnitLoaderTest, ATakenSlotIsSaidBeforeAnythingIsRead) {
  const auto outcome = Run({.load = {{Unit(2, 3), 2}, {Unit(2, 4), 1}}});
  EXPECT_EQ(outcome.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(store_->Snapshot()->AtSlot(2), nullptr);
  EXPECT_EQ(Run({.load = {{Unit(9, 9), 2}}}).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(UnitLoaderTest, WhatIsHeldStaysWhereItIs) {
  const auto outcome = Run({.load = {{Unit(1, 1), 2}, {Unit(1, 0), 1}, {Unit(2, 3), 3}}});
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(changes_.load(), 1);
  const auto table = store_->Snapshot();
  EXPECT_EQ(table->AtSlot(1)->unit, Unit(1, 1));
  EXPECT_EQ(table->AtSlot(2), nullptr);
  EXPECT_EQ(table->AtSlot(3)->unit, Unit(2, 3));
}

TEST_F(UnitLoaderTest, AnOrderKeepsItsPace) {
  const absl::Duration start = clock_.Elapsed();
  const size_t unit_bytes = store_->Load(Unit(3, 3), 3).value();
  ASSERT_TRUE(store_->Drop(Unit(3, 3), 3));
  // Two units at fifty units a second: the second begins 20 ms after the first.
  const auto outcome =
      Run({.load = {{Unit(2, 3), 2}, {Unit(2, 4), 3}}, .bytes_per_second_max = 50 * unit_bytes});
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->read_bytes, 2 * unit_bytes);
  EXPECT_GE(clock_.Elapsed() - start, absl::Milliseconds(20));
}

TEST_F(UnitLoaderTest, ACancelledOrderLoadsNoMoreAndDropsNothing) {
  const auto at_once = Run(
      {.load = {{Unit(2, 3), 2}}, .drop = {{Unit(1, 1), 1}}, .is_cancelled = [] { return true; }});
  EXPECT_EQ(at_once.status().code(), absl::StatusCode::kCancelled) << at_once.status();
  EXPECT_EQ(Run({.drop = {{Unit(1, 1), 1}}, .is_cancelled = [] { return true; }}).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(changes_.load(), 0);
  // Between two units, although the second's turn comes in days.
  const auto between = Run({.load = {{Unit(2, 3), 2}, {Unit(2, 4), 3}},
                            .drop = {{Unit(1, 1), 1}},
                            .bytes_per_second_max = 1,
                            .is_cancelled = [this] { return changes_.load() == 1; }});
  EXPECT_EQ(between.status().code(), absl::StatusCode::kCancelled) << between.status();
  const auto table = store_->Snapshot();
  EXPECT_EQ(table->AtSlot(2)->unit, Unit(2, 3)) << "what was loaded stays";
  EXPECT_EQ(table->AtSlot(3), nullptr);
  EXPECT_EQ(table->AtSlot(1)->unit, Unit(1, 1));
}

TEST_F(UnitLoaderTest, StopEndsAnOrderThatWaitsForItsTurn) {
  absl::Notification done;
  absl::Status status;
  loader_.Submit({.load = {{Unit(2, 3), 2}, {Unit(2, 4), 3}}, .bytes_per_second_max = 1},
                 [&](const absl::StatusOr<LoadOutcome>& outcome) {
                   status = outcome.status();
                   done.Notify();
                 });
  loader_.Stop();
  done.WaitForNotification();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Run({}).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace tessera::expert_shard
