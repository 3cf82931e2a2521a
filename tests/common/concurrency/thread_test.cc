#include "common/concurrency/thread.h"

#include <pthread.h>

#include <atomic>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace tessera {
namespace {

TEST(Thread, HasItsNameCutTo15) {
  std::string name(16, '\0');
  Thread thread("a-rather-long-name", [&](std::stop_token) {
    pthread_getname_np(pthread_self(), name.data(), name.size());
  });
  thread.Join();
  EXPECT_EQ(std::string(name.c_str()), "a-rather-long-n");
}

TEST(Thread, DestructorStopsAndJoins) {
  std::atomic<bool> ended = false;
  {
    Thread thread("loop", [&](std::stop_token stop) {
      while (!stop.stop_requested()) std::this_thread::yield();
      ended = true;
    });
  }
  EXPECT_TRUE(ended);
}

TEST(Thread, AssignmentEndsTheOldThread) {
  std::atomic<int> ended = 0;
  const auto loop = [&](std::stop_token stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
    ++ended;
  };
  Thread thread("first", loop);
  thread = Thread("second", loop);
  EXPECT_EQ(ended, 1);
  EXPECT_TRUE(thread.joinable());
  thread.Stop();
  EXPECT_EQ(ended, 2);
  EXPECT_FALSE(thread.joinable());
  thread.Stop();
  Thread none;
  none.Stop();
  EXPECT_FALSE(none.joinable());
}

}  // namespace
}  // namespace tessera
