#include "common/concurrency/bounded_queue.h"

#include <memory>
#include <numeric>
#include <vector>

#include "common/concurrency/thread.h"
#include "gtest/gtest.h"

namespace tessera {
namespace {

TEST(BoundedQueue, KeepsOrderAndCapacity) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.TryPush(1));
  EXPECT_TRUE(queue.TryPush(2));
  EXPECT_FALSE(queue.TryPush(3));
  EXPECT_EQ(queue.size(), 2u);
  EXPECT_EQ(queue.TryPop(), 1);
  EXPECT_TRUE(queue.TryPush(3));
  EXPECT_EQ(queue.TryPop(), 2);
  EXPECT_EQ(queue.TryPop(), 3);
  EXPECT_EQ(queue.TryPop(), std::nullopt);
}

TEST(BoundedQueue, ARefusedItemIsUntouched) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  EXPECT_TRUE(queue.TryPush(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  EXPECT_FALSE(queue.TryPush(std::move(second)));
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(*second, 2);
}

TEST(BoundedQueue, DeadlineInThePastPolls) {
  BoundedQueue<int> queue(1);
  EXPECT_EQ(queue.PopUntil(absl::InfinitePast()), std::nullopt);
  EXPECT_TRUE(queue.TryPush(5));
  EXPECT_EQ(queue.PopUntil(absl::InfinitePast()), 5);
  EXPECT_EQ(queue.PopFor(absl::ZeroDuration()), std::nullopt);
}

TEST(BoundedQueue, CloseRefusesButDrains) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.TryPush(1));
  queue.Close();
  EXPECT_TRUE(queue.closed());
  EXPECT_FALSE(queue.TryPush(2));
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), std::nullopt);
}

TEST(BoundedQueue, CloseWakesAWaitingConsumer) {
  BoundedQueue<int> queue(1);
  std::optional<int> got = 7;
  Thread consumer("consumer", [&](std::stop_token) { got = queue.Pop(); });
  queue.Close();
  consumer.Join();
  EXPECT_EQ(got, std::nullopt);
}

TEST(BoundedQueue, ManyThreadsLoseAndDoubleNothing) {
  constexpr int kPerPusher = 5000;
  BoundedQueue<int> queue(16);
  std::vector<int> seen(2 * kPerPusher, 0);
  {
    std::vector<Thread> poppers;
    std::vector<std::vector<int>> got(2);
    for (int p = 0; p < 2; ++p) {
      poppers.emplace_back("popper", [&, p](std::stop_token) {
        while (std::optional<int> item = queue.Pop()) got[p].push_back(*item);
      });
    }
    std::vector<Thread> pushers;
    for (int p = 0; p < 2; ++p) {
      pushers.emplace_back("pusher", [&, p](std::stop_token) {
        for (int i = 0; i < kPerPusher; ++i) {
          while (!queue.TryPush(p * kPerPusher + i)) std::this_thread::yield();
        }
      });
    }
    for (Thread& pusher : pushers) pusher.Join();
    queue.Close();
    for (Thread& popper : poppers) popper.Join();
    for (const std::vector<int>& items : got) {
      for (const int item : items) ++seen[item];
    }
  }
  EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), 2 * kPerPusher);
  for (const int times : seen) ASSERT_EQ(times, 1);
}

}  // namespace
}  // namespace tessera
