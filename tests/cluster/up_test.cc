// `tessera up` with the real services on a checkpoint of the reference.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/clock.h"
#include "services/cli/process/child_process.h"
#include "services/cli/process/cluster_file.h"
#include "tests/support/golden.h"
#include "tests/support/shared_memory_files.h"
#include "tests/support/temp_folder.h"
#include "tests/support/wait_until.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using cli::ChildProcess;
using cli::ClusterProcess;
using testing::WaitUntil;

constexpr absl::Duration kPatience = absl::Seconds(60);

bool Gone(int pid) {
  waitpid(pid, nullptr, WNOHANG);  // if it became ours
  return kill(pid, 0) != 0;
}

class UpTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    absl::StatusOr<testing::Golden> golden = testing::ReadGolden("afmoe-tiny-f32");
    ASSERT_TRUE(golden.ok()) << golden.status();
    golden_ = *std::move(golden);
  }
  void TearDown() override { prctl(PR_SET_CHILD_SUBREAPER, 0); }

  // The services alone: no gateway stands beside the program.
  std::string Program() {
    const std::string folder = folder_.File("bin");
    fs::create_directories(folder);
    for (const std::string name : {"tessera", "tessera-router", "tessera-expert"}) {
      std::error_code there_already;
      fs::copy_file(fs::path(TESSERA_PROGRAM).parent_path() / name, folder + "/" + name,
                    there_already);
    }
    return folder + "/tessera";
  }
  void Up(const std::vector<std::string>& flags) {
    std::vector<std::string> words = {"up", "--model=" + golden_.model_dir, "--state_dir=" + state_,
                                      "--port=0", "--precision=float32"};
    words.insert(words.end(), flags.begin(), flags.end());
    auto child = ChildProcess::Start({Program(), words, output_});
    ASSERT_TRUE(child.ok()) << child.status();
    up_ = *std::move(child);
  }
  std::vector<ClusterProcess> Processes(size_t count, int not_pid = 0) {
    std::vector<ClusterProcess> processes;
    EXPECT_TRUE(WaitUntil(
        [&] {
          const auto read = cli::ReadClusterFile(state_ + "/cluster.json");
          if (!read.ok() || read->size() != count) return false;
          processes = *read;
          return std::ranges::none_of(processes, [&](const auto& p) { return p.pid == not_pid; });
        },
        kPatience))
        << (fs::exists(output_) ? testing::ReadFile(output_) : "no output");
    return processes;
  }
  // What `tessera generate` prints for a golden prompt.
  void ExpectGreedy(const testing::GoldenPrompt& prompt) {
    const std::string file = folder_.File("generated");
    fs::remove(file);
    auto generate = ChildProcess::Start(
        {"/bin/sh",
         {"-c", absl::StrCat(Program(), " generate --ids=", absl::StrJoin(prompt.ids, ","),
                             " --max_tokens=", prompt.greedy.size(), " --ignore_eos --state_dir=",
                             state_, " --timeout_seconds=60 2>&1 >", file)},
         output_});
    ASSERT_TRUE(generate.ok());
    const auto end = (*generate)->Wait(kPatience);
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->exit_code, 0) << testing::ReadFile(output_);
    EXPECT_EQ(testing::ReadFile(file), absl::StrJoin(prompt.greedy, ",") + "\n");
  }

  testing::Golden golden_;
  const testing::TempFolder folder_;
  const std::string state_ = folder_.File("state");
  const std::string output_ = folder_.File("output");
  const RealClock clock_;
  std::unique_ptr<ChildProcess> up_;
};

TEST_F(UpTest, AKilledShardComesBackAndNoTokenIsWrong) {
  const std::set<std::string> shared_before = testing::UcxSegments();
  Up({"--shards=2", "--transport=ucx"});  // the one that makes segments
  const auto before = Processes(3);
  ASSERT_EQ(before.size(), 3u);
  ExpectGreedy(golden_.prompts[0]);
  kill(before[1].pid, SIGKILL);
  ExpectGreedy(golden_.prompts[1]);
  const auto after = Processes(3, before[1].pid);
  ASSERT_EQ(after.size(), 3u);
  EXPECT_EQ(after[0].pid, before[0].pid);
  EXPECT_EQ(after[2].pid, before[2].pid);
  ExpectGreedy(golden_.prompts[0]);

  const absl::Duration told = clock_.Elapsed();
  up_->Signal(SIGINT);
  const auto end = up_->Wait(kPatience);
  EXPECT_LT(clock_.Elapsed() - told, absl::Seconds(5));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, 0) << testing::ReadFile(output_);
  for (const ClusterProcess& process : after) EXPECT_TRUE(Gone(process.pid)) << process.id;
  EXPECT_THAT(testing::UcxSegmentsLeft(shared_before), ::testing::IsEmpty());
  EXPECT_FALSE(fs::exists(state_ + "/cluster.json"));
}

TEST_F(UpTest, ARestartedRouterIsFoundAgainWhereItWas) {
  Up({"--shards=1"});
  const auto before = Processes(2);
  ASSERT_EQ(before.size(), 2u);
  ExpectGreedy(golden_.prompts[0]);
  kill(before[0].pid, SIGKILL);
  const auto after = Processes(2, before[0].pid);
  ASSERT_EQ(after.size(), 2u);
  EXPECT_EQ(after[0].endpoints, before[0].endpoints);
  EXPECT_EQ(after[1].pid, before[1].pid) << "the shard needs no restart";
  ExpectGreedy(golden_.prompts[1]);
}

TEST_F(UpTest, OverGrpcAndStrict) {
  Up({"--shards=2", "--replicas=2", "--transport=grpc", "--strict"});
  ASSERT_EQ(Processes(3).size(), 3u);
  ExpectGreedy(golden_.prompts[0]);
}

TEST_F(UpTest, AllInOneProcess) {
  Up({"--shards=2", "--in_process"});
  const auto processes = Processes(3);
  ASSERT_EQ(processes.size(), 3u);
  for (const ClusterProcess& process : processes) EXPECT_EQ(process.pid, up_->pid()) << process.id;
  ExpectGreedy(golden_.prompts[0]);
  ExpectGreedy(golden_.prompts[1]);
  up_->Signal(SIGINT);
  const auto end = up_->Wait(absl::Seconds(10));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, 0) << testing::ReadFile(output_);
  EXPECT_FALSE(fs::exists(state_ + "/cluster.json"));
}

TEST_F(UpTest, AKilledLauncherTakesAllAlong) {
  Up({"--shards=2"});
  const auto processes = Processes(3);
  up_->Signal(SIGKILL);
  for (const ClusterProcess& process : processes) {
    EXPECT_TRUE(WaitUntil([&] { return Gone(process.pid); })) << process.id;
  }
}

}  // namespace
}  // namespace tessera
