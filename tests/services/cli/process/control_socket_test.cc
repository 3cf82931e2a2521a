#include "services/cli/process/control_socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "common/concurrency/thread.h"
#include "tests/support/temp_folder.h"

namespace tessera::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TempFolder;

// Waits for a question.
ControlSocket::Question Await(ControlSocket& control) {
  for (;;) {
    pollfd polled{control.fd(), POLLIN, 0};
    EXPECT_GT(poll(&polled, 1, 20'000), 0);
    auto questions = control.Take();
    if (!questions.empty()) return questions.front();
  }
}

TEST(ControlSocketTest, AQuestionIsAnsweredLineByLine) {
  // Longer than a socket's address may be.
  const TempFolder temp;
  const std::string folder = temp.path() + "/" + std::string(120, 'x');
  std::filesystem::create_directories(folder);
  auto control = ControlSocket::Listen(folder);
  ASSERT_TRUE(control.ok()) << control.status();
  std::vector<std::string> texts;
  absl::Status answer = absl::UnknownError("none");
  Thread asking("ask", [&](std::stop_token) {
    answer = AskControl(folder, "{\"scale\":{\"shards\":4}}", absl::Seconds(20),
                        [&](const std::string& text) { texts.push_back(text); });
  });
  const ControlSocket::Question question = Await(**control);
  EXPECT_EQ(question.line, "{\"scale\":{\"shards\":4}}");
  (*control)->Tell(question.client, "a \"quoted\" word");
  (*control)->Finish(question.client, absl::OkStatus());
  asking.Join();
  EXPECT_EQ(answer, absl::OkStatus());
  EXPECT_THAT(texts, ElementsAre("a \"quoted\" word"));
}

TEST(ControlSocketTest, AnErrorArrivesWithItsWords) {
  const TempFolder folder;
  auto control = ControlSocket::Listen(folder.path());
  ASSERT_TRUE(control.ok()) << control.status();
  absl::Status answer;
  Thread asking("ask", [&](std::stop_token) {
    answer = AskControl(folder.path(), "x", absl::Seconds(20), [](const std::string&) {});
  });
  (*control)->Finish(Await(**control).client, absl::ResourceExhaustedError("no room"));
  asking.Join();
  EXPECT_FALSE(answer.ok());
  EXPECT_THAT(answer.message(), HasSubstr("no room"));
}

TEST(ControlSocketTest, OnlyItsOwnerMayAskAndItGoesWithTheCluster) {
  const TempFolder folder;
  const std::string path = folder.path() + "/control.sock";
  {
    auto control = ControlSocket::Listen(folder.path());
    ASSERT_TRUE(control.ok()) << control.status();
    struct stat status {};
    ASSERT_EQ(stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  const absl::Status answer =
      AskControl(folder.path(), "x", absl::Seconds(1), [](const std::string&) {});
  EXPECT_EQ(answer.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(answer.message(), HasSubstr("--state_dir"));
}

TEST(ControlSocketTest, AClusterThatGoesAwayIsAnError) {
  const TempFolder folder;
  auto control = ControlSocket::Listen(folder.path());
  ASSERT_TRUE(control.ok()) << control.status();
  absl::Status answer;
  Thread asking("ask", [&](std::stop_token) {
    answer = AskControl(folder.path(), "x", absl::Seconds(20), [](const std::string&) {});
  });
  Await(**control);
  control->reset();
  asking.Join();
  EXPECT_EQ(answer.code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace tessera::cli
