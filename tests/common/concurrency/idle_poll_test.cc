#include "common/concurrency/idle_poll.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "common/concurrency/cpu_count.h"
#include "common/concurrency/thread.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/wait_until.h"

namespace tessera {
namespace {

// A poller gets a processor that others keep busy about once a second.
bool WaitUntil(absl::FunctionRef<bool()> condition) {
  return ::tessera::testing::WaitUntil(condition, absl::Seconds(100));
}

// Sandboxes refuse it, where the pollers end at once.
bool KernelGrantsIdlePolicy() {
  bool granted = false;
  Thread asks("asks", [&granted](const std::stop_token&) {
    const sched_param priority = {};
    granted = pthread_setschedparam(pthread_self(), SCHED_IDLE, &priority) == 0;
  });
  asks.Join();
  return granted;
}

// The policies of this process's threads whose names begin with "idle-poll-".
std::vector<int> PoliciesOfPollers() {
  std::vector<int> policies;
  DIR* tasks = opendir("/proc/self/task");
  while (const dirent* entry = readdir(tasks)) {
    const std::string id = entry->d_name;
    std::string name;
    std::ifstream("/proc/self/task/" + id + "/comm") >> name;
    if (name.starts_with("idle-poll-")) policies.push_back(sched_getscheduler(std::stoi(id)));
  }
  closedir(tasks);
  return policies;
}

TEST(IdlePollTest, PollsOnEachProcessorWhereNobodyElseRuns) {
  if (!KernelGrantsIdlePolicy()) GTEST_SKIP() << "the kernel grants no thread of SCHED_IDLE here";
  const RealClock clock;
  IdlePoll poll(clock, absl::Seconds(600));
  cpu_set_t mask;
  ASSERT_EQ(sched_getaffinity(0, sizeof(mask), &mask), 0);
  EXPECT_EQ(poll.thread_count(), static_cast<size_t>(CPU_COUNT(&mask)));
  ASSERT_TRUE(WaitUntil([&] { return poll.asleep() == poll.thread_count(); }));
  EXPECT_EQ(PoliciesOfPollers(), std::vector<int>(poll.thread_count(), SCHED_IDLE));
  poll.Extend();
  ASSERT_TRUE(WaitUntil([&] { return poll.asleep() == 0; }));
}  // ends though the time is not over

TEST(IdlePollTest, SleepsAgainWhenItIsNotExtended) {
  if (!KernelGrantsIdlePolicy()) GTEST_SKIP() << "the kernel grants no thread of SCHED_IDLE here";
  FakeClock clock;
  IdlePoll poll(clock, absl::Milliseconds(20));
  ASSERT_TRUE(WaitUntil([&] { return poll.asleep() == poll.thread_count(); }));
  for (int turn = 0; turn < 3; ++turn) {
    poll.Extend();
    ASSERT_TRUE(WaitUntil([&] { return poll.asleep() == 0; }));
    clock.Advance(absl::Milliseconds(19));
    poll.Extend();
    clock.Advance(absl::Milliseconds(19));
    EXPECT_EQ(poll.asleep(), 0u);
    clock.Advance(absl::Milliseconds(1));
    ASSERT_TRUE(WaitUntil([&] { return poll.asleep() == poll.thread_count(); }));
  }
}

TEST(IdlePollTest, PaysWhereThreadsTakeAllProcessors) {
  if (CgroupCpuQuota().has_value()) {
    EXPECT_FALSE(WouldHalt(4096));
    return;
  }
  EXPECT_TRUE(WouldHalt(UsableCpuCount()));
  EXPECT_FALSE(WouldHalt(UsableCpuCount() - 1));
}

TEST(IdlePollTest, NamesWhatItKnows) {
  EXPECT_EQ(ParseIdlePolling("auto").value(), IdlePolling::kAuto);
  EXPECT_EQ(ParseIdlePolling("on").value(), IdlePolling::kOn);
  EXPECT_EQ(ParseIdlePolling("off").value(), IdlePolling::kOff);
  EXPECT_THAT(ParseIdlePolling("maybe").status().message(),
              ::testing::HasSubstr("idle_poll is 'maybe', expected auto, on or off"));
}

}  // namespace
}  // namespace tessera
