#include "common/rpc/retry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "common/concurrency/thread.h"
#include "tests/support/fake_clock.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class RetryTest : public ::testing::Test {
 protected:
  absl::Status Run(const RetryPolicy& policy, absl::Duration timeout,
                   std::vector<absl::Status> outcomes) {
    times_left_.clear();
    const auto pause = [this](absl::Duration nap) {
      pauses_.push_back(nap);
      clock_.Advance(nap);
      return !stopped_;
    };
    return Retry(
        policy, {clock_, budget_, pause, 1}, timeout, [&](int number, absl::Duration left) {
          EXPECT_EQ(static_cast<size_t>(number), times_left_.size());
          times_left_.push_back(left);
          clock_.Advance(attempt_takes_);
          return outcomes[std::min<size_t>(static_cast<size_t>(number), outcomes.size() - 1)];
        });
  }

  FakeClock clock_;
  RetryBudget budget_;
  RetryPolicy steady_{.attempts_max = 4, .jitter = 0};
  absl::Duration attempt_takes_;
  bool stopped_ = false;
  std::vector<absl::Duration> pauses_;
  std::vector<absl::Duration> times_left_;
};

const absl::Status kGone = absl::UnavailableError("gone");

TEST_F(RetryTest, TriesUntilItSucceedsWithGrowingPauses) {
  EXPECT_TRUE(Run(steady_, absl::Seconds(9), {kGone, kGone, kGone, absl::OkStatus()}).ok());
  EXPECT_THAT(pauses_,
              ElementsAre(absl::Milliseconds(20), absl::Milliseconds(40), absl::Milliseconds(80)));
  EXPECT_THAT(times_left_, ElementsAre(absl::Seconds(9), absl::Milliseconds(8980),
                                       absl::Milliseconds(8940), absl::Milliseconds(8860)));
}

TEST_F(RetryTest, GivesUpAfterTheLastAttempt) {
  EXPECT_EQ(Run(steady_, absl::Seconds(9), {kGone}), kGone);
  EXPECT_THAT(times_left_, SizeIs(4));
}

TEST_F(RetryTest, AnAnswerIsNotRepeated) {
  EXPECT_EQ(Run(steady_, absl::Seconds(9), {absl::InvalidArgumentError("no")}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Run(steady_, absl::Seconds(9), {absl::OkStatus()}).code(), absl::StatusCode::kOk);
  EXPECT_TRUE(pauses_.empty());
}

TEST_F(RetryTest, NoPauseOutlivesTheDeadline) {
  attempt_takes_ = absl::Milliseconds(50);
  EXPECT_EQ(Run(steady_, absl::Milliseconds(100), {kGone}), kGone);
  EXPECT_THAT(times_left_, ElementsAre(absl::Milliseconds(100), absl::Milliseconds(30)));
}

TEST_F(RetryTest, WithoutTimeThereIsNoAttempt) {
  EXPECT_EQ(Run(steady_, absl::ZeroDuration(), {kGone}).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(times_left_.empty());
}

TEST_F(RetryTest, AnOwnerThatStopsEndsIt) {
  stopped_ = true;
  EXPECT_EQ(Run(steady_, absl::Seconds(9), {kGone}), kGone);
  EXPECT_THAT(times_left_, SizeIs(1));
}

TEST_F(RetryTest, JitterShortensPausesByAtMostItsShare) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    std::vector<absl::Duration> pauses;
    RetryBudget budget;
    const auto pause = [&](absl::Duration nap) {
      pauses.push_back(nap);
      return true;
    };
    (void)Retry({.attempts_max = 2}, {clock_, budget, pause, seed}, absl::Seconds(9),
                [](int, absl::Duration) { return kGone; });
    ASSERT_THAT(pauses, SizeIs(1));
    EXPECT_GE(pauses[0], absl::Milliseconds(10));
    EXPECT_LE(pauses[0], absl::Milliseconds(20));
  }
}

TEST_F(RetryTest, TheBudgetIsSpentAndEarned) {
  RetryBudget budget({.retries_per_call = 0.5, .retries_saved_max = 2});
  EXPECT_TRUE(budget.TryTake());
  EXPECT_TRUE(budget.TryTake());
  EXPECT_FALSE(budget.TryTake());
  budget.Count();
  EXPECT_FALSE(budget.TryTake());
  budget.Count();
  EXPECT_TRUE(budget.TryTake());
  for (int i = 0; i < 100; ++i) budget.Count();
  EXPECT_TRUE(budget.TryTake());
  EXPECT_TRUE(budget.TryTake());
  EXPECT_FALSE(budget.TryTake()) << "no more than retries_saved_max are saved";
}

TEST_F(RetryTest, ABudgetMayBeginEmptyAndATenthIsEarnedExactlyByTen) {
  RetryBudget budget({.retries_at_start = 0});
  EXPECT_FALSE(budget.TryTake());
  for (int i = 0; i < 10; ++i) budget.Count();
  EXPECT_TRUE(budget.TryTake());
  EXPECT_FALSE(budget.TryTake());
}

TEST_F(RetryTest, ThreadsTakeNoMoreThanThereIs) {
  constexpr int kThreads = 4;
  constexpr int kTries = 1000;
  RetryBudget budget({.retries_per_call = 0.5, .retries_saved_max = 1e6, .retries_at_start = 100});
  std::atomic<int> taken = 0;
  {
    std::vector<Thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back("taker", [&](std::stop_token) {
        for (int i = 0; i < kTries; ++i) {
          budget.Count();
          taken += budget.TryTake();
        }
      });
    }
    for (Thread& thread : threads) thread.Join();
  }
  while (budget.TryTake()) ++taken;
  EXPECT_EQ(taken, 100 + kThreads * kTries / 2);
}

}  // namespace
}  // namespace tessera
