#include "services/router/dispatch/idle_polling.h"

#include <gtest/gtest.h>

#include "common/concurrency/cpu_count.h"
#include "tests/services/router/dispatch/dispatch_samples.h"
#include "tests/support/wait_until.h"

namespace tessera::router {
namespace {

// A poller gets a processor that others keep busy about once a second.
bool WaitUntil(absl::FunctionRef<bool()> condition) {
  return testing::WaitUntil(condition, absl::Seconds(100));
}

TEST(IdlePolling, ProcessorsAreKeptFromHaltingWhileAnswersAreAwaited) {
  const RealClock clock;
  IdlePoll poll(clock, absl::Seconds(600));
  DispatchBench bench({.shard_count = 2}, {}, &poll);
  ASSERT_TRUE(WaitUntil([&] { return poll.asleep() == poll.thread_count(); }));
  bench.ExpectRight(/*seed=*/1);
  EXPECT_TRUE(WaitUntil([&] { return poll.asleep() == 0; }));
}

TEST(IdlePolling, IsForShardsThatTakeTurnsOnAllProcessors) {
  const RealClock clock;
  const size_t all = UsableCpuCount();
  const bool ours = !CgroupCpuQuota().has_value();
  const auto starts = [&](IdlePolling wanted, bool beside, size_t threads) {
    return StartIdlePoll(wanted, beside, threads, clock) != nullptr;
  };
  EXPECT_EQ(starts(IdlePolling::kAuto, true, all), ours);
  EXPECT_FALSE(starts(IdlePolling::kAuto, true, all - 1));
  EXPECT_FALSE(starts(IdlePolling::kAuto, false, all));
  EXPECT_TRUE(starts(IdlePolling::kOn, false, all - 1));
  EXPECT_FALSE(starts(IdlePolling::kOff, true, all));
}

}  // namespace
}  // namespace tessera::router
