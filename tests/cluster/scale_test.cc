// `tessera scale` on a running `tessera up`: two shards, four, two again, while sixteen requests
// run. None fails, every token is the one of an undisturbed run, and the processes that left are
// gone with their memory.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/http/http_client.h"
#include "services/cli/observe/metrics_text.h"
#include "services/cli/process/child_process.h"
#include "services/cli/process/cluster_file.h"
#include "tests/support/generation_traffic.h"
#include "tests/support/golden.h"
#include "tests/support/temp_folder.h"
#include "tests/support/wait_until.h"

namespace tessera {
namespace {

using cli::ChildProcess;
using cli::ClusterProcess;
using testing::GenerationTraffic;
using testing::WaitUntil;

constexpr absl::Duration kPatience = absl::Seconds(90);

class ScaleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto golden = testing::ReadGolden("afmoe-tiny-f32");
    ASSERT_TRUE(golden.ok()) << golden.status();
    for (const testing::GoldenPrompt& prompt : golden->prompts) prompts_.push_back(prompt.ids);
    auto up = ChildProcess::Start(
        {TESSERA_PROGRAM,
         {"up", "--model=" + golden->model_dir, "--state_dir=" + state_, "--shards=2",
          "--threads=1", "--port=0", "--strict", "--precision=float32"},
         output_});
    ASSERT_TRUE(up.ok()) << up.status();
    up_ = *std::move(up);
    ASSERT_TRUE(WaitUntil([&] { return Experts().size() == 2; }, kPatience)) << Output();
  }
  void TearDown() override {
    if (up_ != nullptr) up_->Stop(absl::Seconds(10));
    if (HasFailure()) std::printf("%s\n", Output().c_str());
  }

  std::vector<ClusterProcess> Processes(const std::string& role) const {
    std::vector<ClusterProcess> found;
    const auto read = cli::ReadClusterFile(state_ + "/cluster.json");
    if (!read.ok()) return {};
    std::ranges::copy_if(*read, std::back_inserter(found),
                         [&](const ClusterProcess& process) { return process.role == role; });
    return found;
  }
  std::vector<ClusterProcess> Experts() const { return Processes("expert"); }
  std::string RouterAddress() const { return *Processes("router").at(0).Endpoint("grpc"); }
  std::string Output() const {
    std::string text = testing::ReadFile(output_);
    for (const char* id : {"router-0", "expert-0", "expert-2"}) {
      const std::string log = absl::StrCat(state_, "/logs/", id, ".log");
      if (std::filesystem::exists(log))
        absl::StrAppend(&text, "\n", id, ":\n", testing::ReadFile(log));
    }
    return text;
  }
  // Exit code of `tessera scale`.
  int Scale(size_t shards) const {
    auto scale =
        ChildProcess::Start({TESSERA_PROGRAM,
                             {"scale", absl::StrCat("--shards=", shards), "--state_dir=" + state_},
                             output_});
    EXPECT_TRUE(scale.ok()) << scale.status();
    if (!scale.ok()) return -1;
    const auto end = (*scale)->Wait(kPatience);
    return end ? end->exit_code + 256 * end->signal : -1;
  }
  // -1: it does not tell.
  static double MetricOf(const ClusterProcess& process, const std::string& name) {
    const std::string* admin = process.Endpoint("admin");
    const auto client = HttpClient::For(admin == nullptr ? "" : *admin, {});
    if (!client.ok()) return -1;
    const auto page = client->Fetch("/metrics");
    return page.ok() ? cli::MetricsText(page->body).Sum(name).value_or(-1) : -1;
  }
  size_t ResidentKilobytes() const {
    size_t sum = 0;
    for (const ClusterProcess& process : Experts()) {
      std::ifstream status(absl::StrCat("/proc/", process.pid, "/status"));
      for (std::string word; status >> word;) {
        size_t kilobytes = 0;
        if (word == "VmRSS:" && status >> kilobytes) sum += kilobytes;
      }
    }
    return sum;
  }
  testing::TrafficConfig Requests(uint32_t tokens) const {
    return {.router_address = RouterAddress(),
            .prompts = prompts_,
            .requests = 16,
            .tokens = tokens,
            .deadline = absl::Seconds(120)};
  }

  testing::TempFolder folder_;
  const std::string state_ = folder_.File("state");
  const std::string output_ = folder_.File("output");
  std::vector<std::vector<TokenId>> prompts_;
  std::unique_ptr<ChildProcess> up_;
};

// Nothing else is asked of anybody: what joins is put to use.
TEST_F(ScaleTest, ShardsThatComeAreGivenExpertsAndServe) {
  ASSERT_EQ(Scale(4), 0);
  const auto serve = [this] {
    size_t serving = 0;
    for (const ClusterProcess& expert : Experts()) {
      serving += MetricOf(expert, "tessera_expert_shard_units_held") > 0 &&
                 MetricOf(expert, "tessera_expert_shard_calls_total") > 0;
    }
    return serving;
  };
  const RealClock clock;
  const absl::Duration deadline = clock.Elapsed() + kPatience;
  do {
    GenerationTraffic traffic(Requests(50));
    ASSERT_EQ(traffic.AwaitEnd(), absl::OkStatus());
  } while (serve() < 4 && clock.Elapsed() < deadline);
  ASSERT_EQ(serve(), 4u);
  // Of the two that leave nobody needs anything: what they hold, others hold too.
  GenerationTraffic traffic(Requests(200));
  ASSERT_TRUE(traffic.AwaitTokens(20));
  ASSERT_EQ(Scale(2), 0);
  EXPECT_EQ(traffic.AwaitEnd(), absl::OkStatus());
  EXPECT_EQ(MetricOf(Processes("router").at(0), "tessera_router_experts_missing"), 0);
}

TEST_F(ScaleTest, TwoShardsFourAndTwoAgainCostNoRequest) {
  GenerationTraffic undisturbed(Requests(200));
  ASSERT_EQ(undisturbed.AwaitEnd(), absl::OkStatus());
  const size_t before = ResidentKilobytes();
  size_t scaled = 0;
  absl::Duration gap;
  // Sixteen at a time, again and again, until both ways are done.
  const std::vector<size_t> ways = {4, 2};
  for (const size_t shards : ways) {
    GenerationTraffic traffic(Requests(200));
    ASSERT_TRUE(traffic.AwaitTokens(20));
    ASSERT_EQ(Scale(shards), 0);
    ASSERT_EQ(traffic.AwaitEnd(), absl::OkStatus());
    EXPECT_EQ(traffic.tokens(), undisturbed.tokens());
    gap = std::max(gap, traffic.longest_gap());
    ASSERT_TRUE(WaitUntil([&] { return Experts().size() == shards; }, kPatience));
    ++scaled;
  }
  EXPECT_EQ(scaled, ways.size());
  const size_t after = ResidentKilobytes();
  std::printf("longest gap %s; experts' resident memory %zu kB before, %zu kB after\n",
              absl::FormatDuration(gap).c_str(), before, after);
  EXPECT_LT(after, before * 5 / 4);
  GenerationTraffic later(Requests(50));
  EXPECT_EQ(later.AwaitEnd(), absl::OkStatus());
}

TEST_F(ScaleTest, AFailedScaleUpChangesNothing) {
  // A shard that cannot start: its config's place is taken by a folder.
  std::filesystem::create_directories(state_ + "/expert-3.json/taken");
  EXPECT_EQ(Scale(4), 1);
  EXPECT_EQ(Experts().size(), 2u);
  GenerationTraffic traffic(Requests(50));
  EXPECT_EQ(traffic.AwaitEnd(), absl::OkStatus());
}

}  // namespace
}  // namespace tessera
