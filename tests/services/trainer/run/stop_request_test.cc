#include "services/trainer/run/stop_request.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "tests/support/wait_until.h"

namespace tessera::trainer {
namespace {

// Signals reach a whole process: each test has one of its own.
class StopRequestTest : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

void ExitAsAsked(int signal) {
  const StopRequest stop;
  if (stop.made()) _exit(1);
  kill(getpid(), signal);
  _exit(testing::WaitUntil([&] { return stop.made(); }) ? 7 : 2);
}

TEST_F(StopRequestTest, TheFirstSignalAsks) {
  EXPECT_EXIT(ExitAsAsked(SIGTERM), ::testing::ExitedWithCode(7), "");
  EXPECT_EXIT(ExitAsAsked(SIGINT), ::testing::ExitedWithCode(7), "");
}

void GoOnRegardless() {
  const StopRequest stop;
  kill(getpid(), SIGTERM);
  if (!testing::WaitUntil([&] { return stop.made(); })) _exit(2);
  kill(getpid(), SIGINT);
  testing::WaitUntil([] { return false; });
  _exit(3);
}

TEST_F(StopRequestTest, TheSecondSignalEndsTheProcess) {
  EXPECT_EXIT(GoOnRegardless(), ::testing::ExitedWithCode(128 + SIGINT), "");
}

TEST_F(StopRequestTest, WithoutASignalNothingIsAskedAndItEnds) {
  const auto end_quietly = [] {
    { const StopRequest stop; }
    _exit(StopRequest().made() ? 1 : 7);
  };
  EXPECT_EXIT(end_quietly(), ::testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace tessera::trainer
