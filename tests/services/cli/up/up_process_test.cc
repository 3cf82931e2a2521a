// `tessera up` as a process, with services that do nothing but listen nowhere: what the launcher
// promises whatever it launches. tests/cluster/up_test.cc has the real ones.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/http/http_server.h"
#include "services/cli/process/child_process.h"
#include "services/cli/process/cluster_file.h"
#include "tests/support/temp_folder.h"
#include "tests/support/wait_until.h"

namespace tessera::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::WaitUntil;

// Says that it listens where its config wants it to, and stays.
constexpr char kFakeService[] = R"(#!/bin/sh
config="${1#--config=}"
field() { sed -n "s/^ *\"$1\": \"\(.*\)\",\{0,1\}$/\1/p" "$config"; }
endpoints=$(field endpoints_file)
http=$(field http_listen)
echo "started $0"
echo "{\"pid\":$$,\"grpc\":\"$(field grpc_listen)\"${http:+,\"http\":\"$http\"}}" > "$endpoints.p"
mv "$endpoints.p" "$endpoints"
exec tail -f /dev/null
)";

class UpProcessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);  // orphans become ours to look at
    fs::create_directories(folder_.File("model"));
    std::ofstream(folder_.File("model/config.json")) << "{}";
    std::ofstream(folder_.File("model/tokenizer.json")) << "{}";
    fs::create_directories(folder_.File("bin"));
    fs::copy_file(TESSERA_PROGRAM, folder_.File("bin/tessera"));
    AddProgram("tessera-router", kFakeService);
    AddProgram("tessera-expert", kFakeService);
  }
  void TearDown() override { prctl(PR_SET_CHILD_SUBREAPER, 0); }

  void AddProgram(const std::string& name, const std::string& script) {
    const std::string path = folder_.File("bin/" + name);
    std::ofstream(path) << script;
    chmod(path.c_str(), 0755);
  }
  std::unique_ptr<ChildProcess> Up(const std::vector<std::string>& flags = {}) {
    std::vector<std::string> words = {"up", "--model=" + folder_.File("model"),
                                      "--state_dir=" + state_, "--port=0"};
    words.insert(words.end(), flags.begin(), flags.end());
    auto child = ChildProcess::Start({folder_.File("bin/tessera"), words, output_});
    EXPECT_TRUE(child.ok()) << child.status();
    return child.ok() ? *std::move(child) : nullptr;
  }
  // The processes of cluster.json once there are `count`, none of them `not_pid`.
  std::vector<ClusterProcess> Processes(size_t count, int not_pid = 0) {
    std::vector<ClusterProcess> processes;
    EXPECT_TRUE(WaitUntil([&] {
      const auto read = ReadClusterFile(state_ + "/cluster.json");
      if (!read.ok() || read->size() != count) return false;
      processes = *read;
      return std::ranges::none_of(processes, [&](const auto& p) { return p.pid == not_pid; });
    })) << Output();
    return processes;
  }
  std::string Output() { return fs::exists(output_) ? testing::ReadFile(output_) : ""; }

  const testing::TempFolder folder_;
  const std::string state_ = folder_.File("state");
  const std::string output_ = folder_.File("output");
  const RealClock clock_;
};

bool Gone(int pid) {
  waitpid(pid, nullptr, WNOHANG);  // if it became ours
  return kill(pid, 0) != 0;
}

TEST_F(UpProcessTest, StartsAllAndSaysWhere) {
  AddProgram("tessera-gateway", kFakeService);
  const auto up = Up({"--shards=2", "--replicas=2"});
  const auto processes = Processes(4);
  ASSERT_EQ(processes.size(), 4u);
  EXPECT_EQ(processes[0].role, "router");
  EXPECT_EQ(processes[0].Endpoint("http"), nullptr);
  EXPECT_EQ(processes[1].id, "expert-0");
  EXPECT_EQ(processes[2].id, "expert-1");
  EXPECT_EQ(processes[3].role, "gateway");
  EXPECT_NE(processes[3].Endpoint("http"), nullptr);
  EXPECT_TRUE(WaitUntil([&] { return Output().find("ready; Ctrl-C") != std::string::npos; }));
  EXPECT_THAT(testing::ReadFile(state_ + "/logs/expert-1.log"), HasSubstr("tessera-expert"));
  struct stat secret {};
  ASSERT_EQ(stat((state_ + "/cluster.secret").c_str(), &secret), 0);
  EXPECT_EQ(secret.st_mode & 0777, 0600u);
}

TEST_F(UpProcessTest, InterruptEndsAllWithinFiveSeconds) {
  AddProgram("tessera-expert", "#!/bin/sh\ntrap '' TERM\n" + std::string(kFakeService).substr(10));
  for (const int signal : {SIGINT, SIGTERM}) {
    const auto up = Up({"--shards=2"});
    const auto processes = Processes(3);
    const absl::Duration told = clock_.Elapsed();
    up->Signal(signal);
    const auto end = up->Wait(absl::Seconds(20));
    EXPECT_LT(clock_.Elapsed() - told, absl::Seconds(5));
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->exit_code, 0) << Output();
    for (const ClusterProcess& process : processes) EXPECT_TRUE(Gone(process.pid));
    EXPECT_FALSE(fs::exists(state_ + "/cluster.json"));
  }
}

TEST_F(UpProcessTest, AnInterruptIsHeardWhereItWasInheritedAsIgnored) {
  const std::string command = absl::StrCat(
      "trap '' INT; exec ", folder_.File("bin/tessera"),
      " up --port=0 --shards=1 --model=", folder_.File("model"), " --state_dir=", state_);
  const auto up = ChildProcess::Start({"/bin/sh", {"-c", command}, output_});
  ASSERT_TRUE(up.ok());
  Processes(2);
  (*up)->Signal(SIGINT);
  const auto end = (*up)->Wait(absl::Seconds(20));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, 0) << Output();
}

TEST_F(UpProcessTest, ADeadChildComesBackAtThePortsItHad) {
  const auto up = Up({"--shards=1"});
  const auto before = Processes(2);
  for (size_t i = 0; i < 2; ++i) {
    kill(before[i].pid, SIGKILL);
    const auto after = Processes(2, before[i].pid);
    ASSERT_EQ(after.size(), 2u);
    EXPECT_EQ(after[i].endpoints, before[i].endpoints);
  }
}

TEST_F(UpProcessTest, AClusterFileThatCouldNotBeWrittenIsWrittenLater) {
  const auto up = Up({"--shards=1"});
  const auto before = Processes(2);
  ASSERT_TRUE(WaitUntil([&] { return Output().find("ready; Ctrl-C") != std::string::npos; }));
  // A folder in its place, as a full disk would, lets nothing be written there.
  fs::remove(state_ + "/cluster.json");
  fs::create_directory(state_ + "/cluster.json");
  kill(before[0].pid, SIGKILL);
  ASSERT_TRUE(WaitUntil([&] { return Output().find("the cluster goes on") != std::string::npos; }));
  fs::remove(state_ + "/cluster.json");
  EXPECT_EQ(Processes(2, before[0].pid).size(), 2u);
}

TEST_F(UpProcessTest, AnEmptyStateDirIsRefused) {
  const auto end = Up({"--state_dir="})->Wait(absl::Seconds(20));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, 2);
  EXPECT_THAT(Output(), HasSubstr("--state_dir is empty"));
}

TEST_F(UpProcessTest, WhatAServiceWouldRefuseIsRefusedBeforeOneStarts) {
  AddProgram("tessera-router", "#!/bin/sh\necho started; exit 2\n");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"--precision=half", "--precision: precision 'half' is unknown; use float32 or fast"},
      {"--isa=sse", "--isa: instruction set 'sse' is unknown; known are auto"},
      {"--expert_dtype=int3", "--expert_dtype: weight format 'int3'"},
      {"--dense_dtype=", "--dense_dtype: weight format ''"},
      {"--weights=zipped", "--weights: weights 'zipped' is unknown; use packed or mapped"},
      {"--transport=tcp", "--transport: 'tcp' is unknown; use shm, ucx or grpc"},
      {"--threads=5000", "--threads=5000: use a number from 1 to 4096"},
      {"surplus", "'surplus' is a word too many"},
  };
  for (const auto& [flag, message] : cases) {
    fs::remove(output_);
    const auto end = Up({flag})->Wait(absl::Seconds(20));
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->exit_code, 2) << flag;
    EXPECT_THAT(Output(), HasSubstr(message));
    EXPECT_THAT(Output(), Not(HasSubstr("started")));
  }
}

TEST_F(UpProcessTest, ChildrenDieWithALauncherThatIsKilled) {
  const auto up = Up({"--shards=3"});
  const auto processes = Processes(4);
  up->Signal(SIGKILL);
  for (const ClusterProcess& process : processes) {
    EXPECT_TRUE(WaitUntil([&] { return Gone(process.pid); })) << process.id;
  }
  const auto again = Up({"--shards=1"});
  EXPECT_EQ(Processes(2).size(), 2u) << "its folder is free again";
}

TEST_F(UpProcessTest, ASecondOneOnTheFolderIsRefused) {
  const auto first = Up({"--shards=1"});
  Processes(2);
  const auto second = Up({"--shards=1"});
  const auto end = second->Wait(absl::Seconds(20));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, 1);
  EXPECT_THAT(Output(), HasSubstr(absl::StrCat("process ", first->pid(), " runs a cluster")));
  EXPECT_EQ(Processes(2).size(), 2u) << "the first goes on";
}

TEST_F(UpProcessTest, APortInUseIsNamed) {
  AddProgram("tessera-gateway", kFakeService);
  const auto somebody = HttpServer::Start({}, {});
  ASSERT_TRUE(somebody.ok()) << somebody.status();
  const std::string address = (*somebody)->address();
  const std::string port = address.substr(address.rfind(':') + 1);
  const auto up = Up({"--shards=1", "--port=" + port});
  const auto end = up->Wait(absl::Seconds(20));
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->exit_code, 1);
  EXPECT_THAT(Output(), HasSubstr("port " + port + " of 127.0.0.1 is in use; name another --port"));
}

TEST_F(UpProcessTest, AServiceThatCannotStartEndsItWithItsLastWords) {
  AddProgram("tessera-expert", "#!/bin/sh\necho no such model >&2\nexit 2\n");
  const auto up = Up({"--shards=1"});
  const auto end = up->Wait(absl::Seconds(20));
  ASSERT_TRUE(end.has_value());
  EXPECT_NE(end->exit_code, 0);
  EXPECT_THAT(Output(), HasSubstr("no such model"));
}

}  // namespace
}  // namespace tessera::cli
