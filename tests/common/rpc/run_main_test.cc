#include "common/rpc/run_main.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "absl/synchronization/notification.h"
#include "tessera/config/v1/router.pb.h"
#include "tests/support/temp_folder.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// Says on a pipe what happens to it.
class FakeService final : public Service {
 public:
  FakeService(int pipe, bool stops) : pipe_(pipe), stops_(stops) {}
  std::vector<std::pair<std::string, std::string>> Endpoints() const override {
    return {{"grpc", "127.0.0.1:1"}};
  }
  void Stop() override {
    EXPECT_EQ(write(pipe_, "S", 1), 1);
    absl::Notification never;
    if (!stops_) never.WaitForNotification();
  }

 private:
  const int pipe_;
  const bool stops_;
};

// A child process that runs RunMain: forked, so that its signals are its own.
class RunMainTest : public ::testing::Test {
 protected:
  struct Behaviour {
    bool builds = true;
    bool builds_at_once = true;
    bool stops = true;
    absl::Duration stop_margin = absl::Hours(1);
  };
  void SetUp() override { ASSERT_EQ(pipe(pipe_), 0); }
  void TearDown() override {
    close(pipe_[0]);
    close(pipe_[1]);
  }

  void Start(const Behaviour& behaviour, std::vector<std::string> args = {}) {
    args.insert(args.begin(), "program");
    args.push_back("--set=endpoints_file=" + endpoints());
    args.push_back("--set=log.file=" + folder_.File("log"));
    child_ = fork();
    ASSERT_GE(child_, 0);
    if (child_ != 0) return;
    signal(SIGINT, SIG_IGN);  // as a shell leaves it to what runs in the background
    _exit(RunChild(behaviour, std::move(args)));
  }
  int RunChild(const Behaviour& behaviour, std::vector<std::string> args) {
    std::vector<char*> argv;
    for (std::string& arg : args) argv.push_back(arg.data());
    ServiceProgram program;
    program.name = "program";
    program.stop_margin = behaviour.stop_margin;
    program.config = std::make_shared<config::v1::Router>();
    program.build = [this, behaviour](const auto&) -> absl::StatusOr<std::unique_ptr<Service>> {
      Say('B');
      absl::Notification never;
      if (!behaviour.builds_at_once) never.WaitForNotification();
      if (!behaviour.builds) return absl::NotFoundError("no model");
      return std::make_unique<FakeService>(pipe_[1], behaviour.stops);
    };
    return RunMain(static_cast<int>(argv.size()), argv.data(), std::move(program));
  }
  void Say(char c) const { EXPECT_EQ(write(pipe_[1], &c, 1), 1); }
  char Hear() const {
    char c = 0;
    EXPECT_EQ(read(pipe_[0], &c, 1), 1);
    return c;
  }
  int ExitCode() const {
    int status = 0;
    EXPECT_EQ(waitpid(child_, &status, 0), child_);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  std::string endpoints() const { return folder_.File("endpoints.json"); }
  std::string Log() const { return testing::ReadFile(folder_.File("log")); }

  const testing::TempFolder folder_;
  int pipe_[2] = {-1, -1};
  pid_t child_ = -1;
};

TEST_F(RunMainTest, RunsUntilSigterm) {
  Start({});
  EXPECT_EQ(Hear(), 'B');
  kill(child_, SIGTERM);  // whether it still builds or serves
  const int code = ExitCode();
  EXPECT_EQ(code, 0);
  EXPECT_FALSE(std::ifstream(endpoints()).good());
}

TEST_F(RunMainTest, HeedsAnInheritedIgnoredSigintAlsoWhileBuilding) {
  Start({.builds_at_once = false});
  EXPECT_EQ(Hear(), 'B');
  kill(child_, SIGINT);
  EXPECT_EQ(ExitCode(), 0);
  EXPECT_THAT(Log(), HasSubstr("served nobody"));
}

TEST_F(RunMainTest, ASecondSignalEndsAStopThatHangs) {
  Start({.stops = false});
  EXPECT_EQ(Hear(), 'B');
  // The endpoints file says that it serves; it comes by rename, whole.
  std::string text;
  while (text.empty()) {
    std::ifstream file(endpoints());
    std::getline(file, text);
  }
  EXPECT_EQ(text, "{\"pid\":" + std::to_string(child_) + ",\"grpc\":\"127.0.0.1:1\"}");
  kill(child_, SIGTERM);
  EXPECT_EQ(Hear(), 'S');
  EXPECT_FALSE(std::ifstream(endpoints()).good()) << "nobody finds a service that stops";
  kill(child_, SIGINT);
  EXPECT_EQ(ExitCode(), 1);
  EXPECT_THAT(Log(), HasSubstr("second signal"));
}

TEST_F(RunMainTest, AStopThatHangsIsGivenUpAfterDrainAndMargin) {
  Start({.stops = false, .stop_margin = absl::Milliseconds(1)}, {"--set=drain_seconds=0.001"});
  EXPECT_EQ(Hear(), 'B');
  while (!std::ifstream(endpoints()).good()) {
  }
  kill(child_, SIGTERM);
  EXPECT_EQ(ExitCode(), 1);
  EXPECT_THAT(Log(), HasSubstr("did not stop in time"));
}

TEST_F(RunMainTest, ABuildThatFailsSaysWhy) {
  Start({.builds = false}, {"--set=log.json=true"});
  EXPECT_EQ(ExitCode(), 1);
  EXPECT_THAT(Log(), HasSubstr("no model"));
  EXPECT_THAT(Log(), StartsWith("{\"time\""));
}

TEST_F(RunMainTest, WrongConfigEndsBeforeAnythingIsBuilt) {
  for (const char* arg : {"--set=modle=x", "--config=/no/such/file", "--port=1",
                          "--set=log.level=loud", "--set=log.file_bytes_max=0"}) {
    Start({}, {arg});
    EXPECT_EQ(ExitCode(), 2) << arg;
  }
}

TEST_F(RunMainTest, QuestionsAreAnsweredWithoutServing) {
  for (const char* arg : {"--print_config", "--version", "--help"}) {
    Start({}, {arg});
    EXPECT_EQ(ExitCode(), 0) << arg;
  }
}

}  // namespace
}  // namespace tessera
