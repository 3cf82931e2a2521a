#include "services/cli/process/child_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/numbers.h"
#include "common/base/clock.h"
#include "tests/support/temp_folder.h"
#include "tests/support/wait_until.h"

namespace tessera::cli {
namespace {

using ::testing::HasSubstr;
using testing::WaitUntil;

ChildCommand Shell(const std::string& script, const std::string& output_file = "") {
  return {"/bin/sh", {"-c", script}, output_file};
}

TEST(ChildProcessTest, ItsOutputIsAppendedAndItsEndIsTold) {
  const testing::TempFolder folder;
  const std::string log = folder.File("log");
  for (const std::string word : {"one", "two"}) {
    auto child = ChildProcess::Start(Shell("echo " + word + "; echo loud >&2; exit 3", log));
    ASSERT_TRUE(child.ok()) << child.status();
    const auto end = (*child)->Wait(absl::Seconds(20));
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->exit_code, 3);
    EXPECT_EQ(end->ToString(), "exit code 3");
  }
  EXPECT_EQ(testing::ReadFile(log), "one\nloud\ntwo\nloud\n");
}

TEST(ChildProcessTest, AProgramThatIsNotThereIsNamed) {
  const auto child = ChildProcess::Start({"/no/such/program", {}, ""});
  EXPECT_EQ(child.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(child.status().message()), HasSubstr("/no/such/program"));
  const auto unwritable = ChildProcess::Start(Shell("true", "/no/such/folder/log"));
  EXPECT_EQ(unwritable.status().code(), absl::StatusCode::kUnavailable);
}

TEST(ChildProcessTest, StopAsksFirstAndKillsLater) {
  auto polite = ChildProcess::Start(Shell("exec tail -f /dev/null"));
  ASSERT_TRUE(polite.ok());
  EXPECT_EQ((*polite)->Stop(absl::Seconds(20)).signal, SIGTERM);

  const testing::TempFolder folder;
  const std::string log = folder.File("log");
  auto stubborn =
      ChildProcess::Start(Shell("trap '' TERM; echo ready; while true; do read x; done", log));
  ASSERT_TRUE(stubborn.ok());
  ASSERT_TRUE(WaitUntil([&] { return testing::ReadFile(log) == "ready\n"; }));
  EXPECT_EQ((*stubborn)->Stop(absl::Milliseconds(50)).signal, SIGKILL);
}

TEST(ChildProcessTest, OneThatStandsStillIsStoppedToo) {
  auto child = ChildProcess::Start(Shell("exec tail -f /dev/null"));
  ASSERT_TRUE(child.ok());
  (*child)->Signal(SIGSTOP);
  EXPECT_EQ((*child)->Stop(absl::Seconds(20)).signal, SIGTERM);
}

TEST(ChildProcessTest, IgnoredAndBlockedSignalsAreNotInherited) {
  struct sigaction ignore {};
  struct sigaction before {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGTERM, &ignore, &before);
  sigset_t blocked;
  sigset_t mask_before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigprocmask(SIG_BLOCK, &blocked, &mask_before);
  auto child = ChildProcess::Start(Shell("exec tail -f /dev/null"));
  sigprocmask(SIG_SETMASK, &mask_before, nullptr);
  sigaction(SIGTERM, &before, nullptr);
  ASSERT_TRUE(child.ok());
  EXPECT_EQ((*child)->Stop(absl::Seconds(20)).signal, SIGTERM);
}

TEST(ChildProcessTest, ItIsReapedWithTheObject) {
  pid_t pid = 0;
  {
    auto child = ChildProcess::Start(Shell("exec tail -f /dev/null"));
    ASSERT_TRUE(child.ok());
    pid = (*child)->pid();
    EXPECT_EQ(kill(pid, 0), 0);
    EXPECT_FALSE((*child)->Poll().has_value());
  }
  EXPECT_NE(kill(pid, 0), 0) << "it still runs, or was not reaped";
}

TEST(ChildProcessTest, ItDiesWithAParentThatIsKilled) {
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);  // so that the orphan becomes ours to reap
  const testing::TempFolder folder;
  const std::string log = folder.File("log");
  auto parent = ChildProcess::Start({CLI_PROCESS_PARENT, {"/bin/tail", "-f", "/dev/null"}, log});
  if (!parent.ok()) {
    parent = ChildProcess::Start({CLI_PROCESS_PARENT, {"/usr/bin/tail", "-f", "/dev/null"}, log});
  }
  ASSERT_TRUE(parent.ok()) << parent.status();
  int orphan = 0;
  ASSERT_TRUE(WaitUntil([&] {
    const std::string text = testing::ReadFile(log);
    return text.ends_with("\n") && absl::SimpleAtoi(text, &orphan);
  }));
  (*parent)->Signal(SIGKILL);
  int status = 0;
  EXPECT_TRUE(WaitUntil([&] { return waitpid(orphan, &status, WNOHANG) == orphan; }));
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST(SharedFolderTest, IsFoundBesideTheProgramsFolder) {
  const auto models = SharedFolder("models");
  ASSERT_TRUE(models.ok()) << models.status();
  EXPECT_TRUE(models->ends_with("/share/tessera/models")) << *models;
  const absl::Status none = SharedFolder("models/no-such").status();
  EXPECT_EQ(none.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(none.message().find("share/tessera/models/no-such"), std::string::npos) << none;
}

TEST(SiblingProgramTest, IsFoundBesideThisProgram) {
  const auto self = SiblingProgram("cli_process_test");
  ASSERT_TRUE(self.ok()) << self.status();
  EXPECT_TRUE(self->starts_with("/"));
  EXPECT_EQ(SiblingProgram("tessera-no-such").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace tessera::cli
