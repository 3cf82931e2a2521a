#include "services/cli/process/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "tests/support/temp_folder.h"

namespace tessera::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Services are shell scripts: "$E" is the endpoints file, `serve` writes it and runs for ever.
constexpr char kServe[] =
    "serve() { echo \"{\\\"pid\\\":$$,\\\"grpc\\\":\\\"$1\\\"}\" > $E.p; mv $E.p $E;"
    " exec tail -f /dev/null; }; ";

class SupervisorTest : public ::testing::Test {
 protected:
  ServiceSpec Spec(const std::string& role, const std::string& id, const std::string& script) {
    ServiceSpec spec;
    spec.role = role;
    spec.id = id;
    spec.endpoints_file = folder_.File(id + ".endpoints");
    spec.output_file = folder_.File(id + ".log");
    spec.command = [text = absl::StrCat("E=", spec.endpoints_file, "; ", kServe, script)](
                       const ClusterProcess* before) -> absl::StatusOr<ChildCommand> {
      const std::string* port = before == nullptr ? nullptr : before->Endpoint("grpc");
      return ChildCommand{"/bin/sh", {"-c", text, "sh", port == nullptr ? "new" : *port}, ""};
    };
    return spec;
  }
  // Ticks until the condition holds.
  absl::Status TickUntil(const std::function<bool()>& condition) {
    const absl::Duration end = clock_.Elapsed() + absl::Seconds(20);
    while (clock_.Elapsed() < end) {
      if (const auto ticked = supervisor_.Tick(); !ticked.ok()) return ticked.status();
      if (condition()) return absl::OkStatus();
      supervisor_.Sleep(-1, absl::Seconds(1));
    }
    return absl::DeadlineExceededError("it did not come to pass");
  }
  bool AllReady() { return supervisor_.ready_count() == supervisor_.size(); }

  RealClock clock_;
  testing::TempFolder folder_;
  Supervisor supervisor_{{.restart_pause_min = absl::Milliseconds(5)}, clock_};
};

TEST_F(SupervisorTest, ADeadServiceComesBackAndIsToldWhereItWas) {
  ASSERT_TRUE(supervisor_.Add(Spec("expert", "expert-0", "serve 127.0.0.1:7$1")).ok());
  ASSERT_TRUE(supervisor_.Add(Spec("router", "router-0", "serve 127.0.0.1:8")).ok());
  ASSERT_TRUE(TickUntil([&] { return AllReady(); }).ok());
  const auto first = supervisor_.processes();
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].id, "expert-0");
  EXPECT_EQ(first[0].role, "expert");
  EXPECT_EQ(*first[0].Endpoint("grpc"), "127.0.0.1:7new");
  kill(first[0].pid, SIGKILL);
  ASSERT_TRUE(TickUntil([&] { return supervisor_.restarts() == 1 && AllReady(); }).ok());
  const auto second = supervisor_.processes();
  ASSERT_EQ(second.size(), 2u);
  EXPECT_NE(second[0].pid, first[0].pid);
  EXPECT_EQ(*second[0].Endpoint("grpc"), "127.0.0.1:7127.0.0.1:7new");
  EXPECT_EQ(second[1].pid, first[1].pid);
}

TEST_F(SupervisorTest, BetweenTwoLivesAServiceIsMissing) {
  ASSERT_TRUE(supervisor_.Add(Spec("expert", "expert-0", "serve 127.0.0.1:7")).ok());
  ASSERT_TRUE(TickUntil([&] { return AllReady(); }).ok());
  kill(supervisor_.processes()[0].pid, SIGKILL);
  ASSERT_TRUE(TickUntil([&] { return supervisor_.processes().empty(); }).ok());
  ASSERT_TRUE(TickUntil([&] { return supervisor_.processes().size() == 1; }).ok());
}

TEST_F(SupervisorTest, OneThatNeverStartsIsGivenUpWithItsLastWords) {
  ASSERT_TRUE(supervisor_.Add(Spec("expert", "expert-0", "echo no memory; exit 1")).ok());
  const absl::Status given_up = TickUntil([&] { return AllReady(); });
  EXPECT_EQ(given_up.code(), absl::StatusCode::kUnavailable) << given_up;
  EXPECT_THAT(std::string(given_up.message()), HasSubstr("no memory"));
  EXPECT_EQ(supervisor_.restarts(), 2u);
}

TEST_F(SupervisorTest, LastWordsAreThoseOfTheLastLife) {
  // Each life says how many there were before it.
  ASSERT_TRUE(supervisor_
                  .Add(Spec("expert", "expert-0",
                            "touch $E.lives; echo life $(wc -l < $E.lives); echo >> $E.lives; "
                            "exit 1"))
                  .ok());
  const absl::Status given_up = TickUntil([&] { return AllReady(); });
  EXPECT_THAT(std::string(given_up.message()), HasSubstr("life 2"));
  EXPECT_THAT(std::string(given_up.message()), Not(HasSubstr("life 0")));
  EXPECT_THAT(std::string(given_up.message()), Not(HasSubstr("life 1")));
}

TEST_F(SupervisorTest, ARefusedConfigIsNotTriedAgain) {
  ASSERT_TRUE(supervisor_.Add(Spec("expert", "expert-0", "echo unknown key; exit 2")).ok());
  const absl::Status refused = TickUntil([&] { return AllReady(); });
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("unknown key"));
  EXPECT_EQ(supervisor_.restarts(), 0u);
}

TEST_F(SupervisorTest, PausesGrowWhileItKeepsDying) {
  ASSERT_TRUE(supervisor_
                  .Add(Spec("expert", "expert-0",
                            "test -e $E.once && exit 1; touch $E.once;"
                            " serve 127.0.0.1:7"))
                  .ok());
  ASSERT_TRUE(TickUntil([&] { return AllReady(); }).ok());
  const absl::Duration killed = clock_.Elapsed();
  kill(supervisor_.processes()[0].pid, SIGKILL);
  ASSERT_TRUE(TickUntil([&] { return supervisor_.restarts() == 5; }).ok());
  EXPECT_GE(clock_.Elapsed() - killed, absl::Milliseconds(5 + 10 + 20 + 40 + 80));
}

TEST_F(SupervisorTest, AllAreStoppedInTheLimit) {
  ASSERT_TRUE(supervisor_.Add(Spec("router", "router-0", "serve 127.0.0.1:8")).ok());
  ASSERT_TRUE(supervisor_.Add(Spec("expert", "expert-0", "trap '' TERM; serve 127.0.0.1:7")).ok());
  ASSERT_TRUE(TickUntil([&] { return AllReady(); }).ok());
  const auto processes = supervisor_.processes();
  const absl::Duration start = clock_.Elapsed();
  supervisor_.StopAll({"router", "expert"}, absl::Milliseconds(400), nullptr);
  EXPECT_LT(clock_.Elapsed() - start, absl::Seconds(5));
  for (const ClusterProcess& process : processes) EXPECT_NE(kill(process.pid, 0), 0);
}

TEST_F(SupervisorTest, WhoIsInAHurryWaitsForNobody) {
  ASSERT_TRUE(supervisor_.Add(Spec("expert", "expert-0", "trap '' TERM; serve 127.0.0.1:7")).ok());
  ASSERT_TRUE(TickUntil([&] { return AllReady(); }).ok());
  const absl::Duration start = clock_.Elapsed();
  supervisor_.StopAll({"expert"}, absl::Minutes(5), [] { return true; });
  EXPECT_LT(clock_.Elapsed() - start, absl::Seconds(20));
}

TEST_F(SupervisorTest, GrownOutputIsBegunAnew) {
  Supervisor supervisor({.output_bytes_max = 1000}, clock_);
  ASSERT_TRUE(
      supervisor
          .Add(Spec("expert", "expert-0", "head -c 2000 /dev/zero | tr '\\0' x; serve 127.0.0.1:7"))
          .ok());
  while (supervisor.ready_count() == 0) {
    ASSERT_TRUE(supervisor.Tick().ok());
    supervisor.Sleep(-1, absl::Seconds(1));
  }
  const std::string log = folder_.File("expert-0.log");
  const absl::Duration end = clock_.Elapsed() + absl::Seconds(20);
  while (!testing::ReadFile(log).empty() && clock_.Elapsed() < end) {
    ASSERT_TRUE(supervisor.Tick().ok());
    supervisor.Sleep(-1, absl::Seconds(1));
  }
  EXPECT_EQ(testing::ReadFile(log), "");
  EXPECT_EQ(testing::ReadFile(log + ".1").size(), 2000u);
}

}  // namespace
}  // namespace tessera::cli
