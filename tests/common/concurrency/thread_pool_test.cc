#include "common/concurrency/thread_pool.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "common/base/clock.h"
#include "gtest/gtest.h"

namespace tessera {
namespace {

// The states (R, S, ...) of this process' compute threads, one letter each.
std::string ComputeThreadStates() {
  std::string states;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "stat");
    std::string line;
    std::getline(file, line);  // pid (name) state ...
    const size_t name_end = line.rfind(')');
    if (line.find("(compute-") == std::string::npos || name_end + 2 >= line.size()) continue;
    states.push_back(line[name_end + 2]);
  }
  return states;
}

// Threads and spin rounds: 0 makes every wait a sleep, 1 mixes both.
class ThreadPoolTest : public ::testing::TestWithParam<std::tuple<size_t, size_t>> {
 protected:
  ThreadPoolConfig Config() const {
    return {.thread_count = std::get<0>(GetParam()), .spin_rounds = std::get<1>(GetParam())};
  }
};

TEST_P(ThreadPoolTest, CoversEveryIndexOnce) {
  ThreadPool pool(Config());
  ASSERT_EQ(pool.thread_count(), std::get<0>(GetParam()));
  for (const size_t count : {0, 1, 2, 7, 64, 1000}) {
    for (const size_t grain : {1, 3, 64, 5000}) {
      std::vector<int> times(count, 0);  // each element is written by one thread only
      std::atomic<bool> sound = true;
      pool.ParallelFor(count, grain, [&](size_t begin, size_t end, size_t worker) {
        if (begin % grain != 0 || end <= begin || end - begin > grain || end > count ||
            worker >= pool.thread_count()) {
          sound = false;
        }
        for (size_t i = begin; i < end; ++i) ++times[i];
      });
      EXPECT_TRUE(sound);
      for (const int t : times) ASSERT_EQ(t, 1) << "count " << count << " grain " << grain;
    }
  }
}

// The next region overwrites plain memory of the last one: a worker left behind would be a race.
TEST_P(ThreadPoolTest, ManyRegionsFollowEachOther) {
  ThreadPool pool(Config());
  std::vector<size_t> values(16, 0);
  constexpr size_t kRegions = 2000;
  for (size_t region = 0; region < kRegions; ++region) {
    const size_t count = 1 + region % values.size();
    pool.ParallelFor(count, 1, [&](size_t begin, size_t end, size_t) {
      for (size_t i = begin; i < end; ++i) values[i] = region + i;
    });
    ASSERT_EQ(values[count - 1], region + count - 1);
  }
}

TEST_P(ThreadPoolTest, RestingWorkersComeBack) {
  ThreadPool pool(Config());
  std::vector<size_t> values(16, 0);
  for (size_t region = 0; region < 500; ++region) {
    pool.Rest();
    pool.ParallelFor(values.size(), 1, [&](size_t begin, size_t end, size_t) {
      for (size_t i = begin; i < end; ++i) values[i] += 1;
    });
    pool.Rest();
  }
  EXPECT_EQ(values, std::vector<size_t>(16, 500));
}

TEST_P(ThreadPoolTest, ScratchOfAWorkerIsItsOwn) {
  ThreadPool pool(Config());
  std::vector<size_t> sums(pool.thread_count(), 0);
  constexpr size_t kCount = 10000;
  pool.ParallelFor(kCount, 7, [&](size_t begin, size_t end, size_t worker) {
    for (size_t i = begin; i < end; ++i) sums[worker] += i;
  });
  EXPECT_EQ(std::accumulate(sums.begin(), sums.end(), size_t{0}), kCount * (kCount - 1) / 2);
}

TEST_P(ThreadPoolTest, AllThreadsTakePartWhenOnePieceWaitsForTheOthers) {
  ThreadPool pool(Config());
  const size_t threads = pool.thread_count();
  std::atomic<size_t> arrived = 0;
  // Each piece waits until every thread holds one: it can only end if all have woken up.
  pool.ParallelFor(threads, 1, [&](size_t, size_t, size_t) {
    ++arrived;
    while (arrived < threads) {
    }
  });
  EXPECT_EQ(arrived, threads);
}

INSTANTIATE_TEST_SUITE_P(ThreadsAndSpin, ThreadPoolTest,
                         ::testing::Combine(::testing::Values(1, 2, 3, 5),
                                            ::testing::Values(0, 1, 2000)));

TEST(ThreadPool, DefaultSizeIsTheUsableCpuCount) {
  ThreadPool pool({});
  EXPECT_EQ(pool.thread_count(), UsableCpuCount());
}

TEST(ThreadPool, StartsAndStopsWithoutWork) {
  for (int i = 0; i < 50; ++i) {
    ThreadPool pool({.thread_count = 3, .spin_rounds = static_cast<size_t>(i % 3)});
  }
}

// Workers that would spin for hours sleep once told to.
TEST(ThreadPoolRest, SpinnersSleep) {
  ThreadPool pool({.thread_count = 3, .spin_rounds = size_t{1} << 50});
  pool.ParallelFor(64, 1, [](size_t, size_t, size_t) {});
  pool.Rest();
  const RealClock clock;
  const absl::Duration end = clock.Elapsed() + absl::Seconds(30);
  std::string states = ComputeThreadStates();
  while (states != "SS" && clock.Elapsed() < end) {
    pool.Rest();
    states = ComputeThreadStates();
  }
  EXPECT_EQ(states, "SS");
}

}  // namespace
}  // namespace tessera
