// Real processes that are killed or stopped while two dozen requests run: no request fails, and
// every token is the one of an undisturbed run. The longest gap between two tokens is printed, and
// is no longer than promised beyond the longest gap of an undisturbed run on the same box. The same
// while every answer is a hundred times later, or answers come twice, out of order, or spoiled.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/base/clock.h"
#include "services/cli/process/child_process.h"
#include "services/cli/process/cluster_file.h"
#include "services/cli/process/local_host.h"
#include "services/cli/up/service_configs.h"
#include "tests/support/faulty_transport.h"
#include "tests/support/generation_traffic.h"
#include "tests/support/golden.h"
#include "tests/support/raw_http.h"
#include "tests/support/temp_folder.h"
#include "tests/support/wait_until.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using cli::ChildProcess;
using testing::GenerationTraffic;
using testing::WaitUntil;

constexpr absl::Duration kPatience = absl::Seconds(60);
// The promise: what a loss adds to the gaps that are there without it.
constexpr absl::Duration kGapWithReplica = absl::Milliseconds(250);
constexpr absl::Duration kGapWithoutReplica = absl::Seconds(2);

struct Loss {
  size_t copies;        // of each expert
  const char* weather;  // what befalls the shards' answers all the time; "calm": nothing
  uint32_t tokens;      // of each request
};

std::string NameOf(const Loss& loss) { return absl::StrCat(loss.weather, loss.copies); }

class ProcessLossTest : public ::testing::TestWithParam<Loss> {
 protected:
  static constexpr size_t kShards = 2;

  void SetUp() override {
    auto golden = testing::ReadGolden("afmoe-tiny-f32");
    ASSERT_TRUE(golden.ok()) << golden.status();
    settings_ = {.model = fs::absolute(golden->model_dir), .strict = true, .precision = "float32"};
    if (!calm()) settings_.transport = "ucx";  // as between boxes, with checksums
    for (const testing::GoldenPrompt& prompt : golden->prompts) prompts_.push_back(prompt.ids);
    const auto port = cli::PickPort("127.0.0.1");
    ASSERT_TRUE(port.ok()) << port.status();
    router_address_ = absl::StrCat("127.0.0.1:", *port);
    ASSERT_NO_FATAL_FAILURE(StartRouter());
    shards_.resize(kShards);
    for (size_t i = 0; i < kShards; ++i) ASSERT_NO_FATAL_FAILURE(StartShard(i));
    ASSERT_NO_FATAL_FAILURE(AwaitLinked());
    GenerationTraffic undisturbed(Requests());
    ASSERT_EQ(undisturbed.AwaitEnd(), absl::OkStatus());
    expected_ = undisturbed.tokens();
    Print("undisturbed", undisturbed);
    undisturbed_gap_ = undisturbed.longest_gap();
    for (size_t i = 0; i < kShards; ++i) {
      const std::string log = testing::ReadFile(File(absl::StrCat("shard-", i), "log"));
      EXPECT_EQ(absl::StrContains(log, testing::kFirstHit), !calm()) << "the weather set in";
    }
    if (std::string_view(GetParam().weather) == "corrupted") {
      EXPECT_GT(Metric("tessera_router_shard_failures_total{"), 0) << "spoiled answers are seen";
    }
  }

  void StartRouter() {
    ASSERT_NO_FATAL_FAILURE(
        Start("tessera-router", "router",
              cli::RouterConfigText(settings_, {.grpc_listen = router_address_,
                                                .admin_listen = "127.0.0.1:0",
                                                .endpoints_file = File("router", "json"),
                                                .threads = 1,
                                                .replicas = GetParam().copies}),
              router_));
    const auto endpoints = cli::ReadEndpointsFile(File("router", "json"));
    ASSERT_TRUE(endpoints.ok()) << endpoints.status();
    const std::string& admin = *endpoints->Endpoint("admin");
    ASSERT_TRUE(absl::SimpleAtoi(admin.substr(admin.rfind(':') + 1), &router_admin_port_));
  }
  void StartShard(size_t i) {
    const std::string name = absl::StrCat("shard-", i);
    const std::string config =
        cli::ShardConfigText(settings_, {.shard_id = i,
                                         .shard_count = kShards,
                                         .replicas = GetParam().copies,
                                         .router_addresses = {router_address_},
                                         .endpoints_file = File(name, "json"),
                                         .threads = 1});
    if (calm()) return Start("tessera-expert", name, config, shards_[i]);
    Start("cluster_faulty_expert", name, WithChecksums(config), shards_[i],
          {absl::StrCat("--weather=", GetParam().weather)});
  }
  bool calm() const { return std::string_view(GetParam().weather) == "calm"; }
  // Rows that stay in the memory of one box have no checksum; those for an address beyond it do.
  static std::string WithChecksums(const std::string& config) {
    const auto port = cli::PickPort("127.0.0.1");
    EXPECT_TRUE(port.ok()) << port.status();
    return absl::StrReplaceAll(
        config, {{"\"data_listen\": \"ucx:127.0.0.1:0\"",
                  absl::StrCat("\"data_listen\": \"ucx:127.0.0.1:", *port,
                               "\", \"data_advertise\": \"ucx:0.0.0.0:", *port, "\"")}});
  }
  // Returns when it listens.
  void Start(const std::string& program, const std::string& name, const std::string& config,
             std::unique_ptr<ChildProcess>& process, std::vector<std::string> arguments = {}) {
    process.reset();
    fs::remove(File(name, "json"));
    testing::WriteFile(File(name, "config"), config);
    const auto path = cli::SiblingProgram(program);
    ASSERT_TRUE(path.ok()) << path.status();
    arguments.push_back(absl::StrCat("--config=", File(name, "config")));
    auto started = ChildProcess::Start({*path, arguments, File(name, "log")});
    ASSERT_TRUE(started.ok()) << started.status();
    process = *std::move(started);
    ASSERT_TRUE(WaitUntil([&] { return fs::exists(File(name, "json")); }, kPatience))
        << testing::ReadFile(File(name, "log"));
  }
  testing::TrafficConfig Requests() const {
    return {.router_address = router_address_, .prompts = prompts_, .tokens = GetParam().tokens};
  }
  std::string File(const std::string& name, const std::string& ending) const {
    return folder_.File(absl::StrCat(name, ".", ending));
  }
  // Sum of the router's series that begin so.
  double Metric(const std::string& prefix) const {
    double sum = 0;
    const std::string text = testing::Fetch(router_admin_port_, testing::RawGet("/metrics")).body;
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      double value = 0;
      if (absl::StartsWith(line, prefix) &&
          absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value)) {
        sum += value;
      }
    }
    return sum;
  }
  void AwaitLinked() {
    ASSERT_TRUE(
        WaitUntil([&] { return Metric("tessera_router_shards_linked ") == kShards; }, kPatience))
        << testing::ReadFile(File("router", "log"));
  }
  void Print(const std::string& what, const GenerationTraffic& traffic) {
    const double milliseconds = absl::ToDoubleMilliseconds(traffic.longest_gap());
    std::printf("%s, %s: longest gap between tokens %.0f ms\n", NameOf(GetParam()).c_str(),
                what.c_str(), milliseconds);
    RecordProperty(what, absl::StrCat(milliseconds));
  }
  // Runs the traffic, does `harm` in its midst.
  template <typename Harm>
  absl::Duration RunThrough(const std::string& what, Harm harm) {
    GenerationTraffic traffic(Requests());
    EXPECT_TRUE(traffic.AwaitTokens(GetParam().tokens / 10));
    harm();
    EXPECT_EQ(traffic.AwaitEnd(), absl::OkStatus()) << testing::ReadFile(File("router", "log"));
    EXPECT_EQ(traffic.tokens(), expected_) << what;
    Print(what, traffic);
    return traffic.longest_gap();
  }
  // Runs without harm show what the box does by itself, which other programs on it change.
  void RunUndisturbed(const std::string& what) {
    undisturbed_gap_ = std::max(undisturbed_gap_, RunThrough(what, [] {}));
  }
  // To be asked behind the last undisturbed run.
  absl::Duration GapMax() const {
    // What is done again meets the same weather again.
    return undisturbed_gap_ * (calm() ? 1 : 2) +
           (GetParam().copies > 1 ? kGapWithReplica : kGapWithoutReplica);
  }

  const testing::TempFolder folder_;
  cli::ClusterSettings settings_;
  std::vector<std::vector<TokenId>> prompts_;
  std::string router_address_;
  int router_admin_port_ = 0;
  std::unique_ptr<ChildProcess> router_;
  std::vector<std::unique_ptr<ChildProcess>> shards_;
  std::vector<std::vector<TokenId>> expected_;
  absl::Duration undisturbed_gap_;
};

INSTANTIATE_TEST_SUITE_P(All, ProcessLossTest,
                         ::testing::Values(Loss{2, "calm", 200}, Loss{1, "calm", 200},
                                           Loss{2, "delayed", 30}, Loss{1, "delayed", 30},
                                           Loss{2, "duplicated", 100}, Loss{1, "duplicated", 100},
                                           Loss{2, "reordered", 60}, Loss{1, "reordered", 60},
                                           Loss{2, "corrupted", 60}, Loss{1, "corrupted", 60}),
                         [](const ::testing::TestParamInfo<Loss>& info) {
                           return NameOf(info.param);
                         });

TEST_P(ProcessLossTest, ShardsKilledAndStopped) {
  absl::Duration stopped = absl::InfiniteDuration();
  absl::Duration killed = absl::InfiniteDuration();
  // Other programs on the box make gaps too: what they cannot hide is a promise kept once.
  for (int round = 0; round < 3 && std::max(stopped, killed) > GapMax(); ++round) {
    stopped = std::min(stopped, RunThrough("SIGSTOP", [&] { shards_[0]->Signal(SIGSTOP); }));
    shards_[0]->Signal(SIGCONT);
    ASSERT_NO_FATAL_FAILURE(AwaitLinked());
    // The other one: what it took over has to come from somewhere again.
    killed = std::min(killed, RunThrough("SIGKILL", [&] { shards_[1]->Signal(SIGKILL); }));
    EXPECT_EQ(Metric("tessera_router_unit_loads_total ") > 0, GetParam().copies == 1);
    ASSERT_NO_FATAL_FAILURE(StartShard(1));
    ASSERT_NO_FATAL_FAILURE(AwaitLinked());
    const std::string rows = "tessera_router_shard_rows_total{shard=\"1\"} ";
    const double before = Metric(rows);
    RunUndisturbed("shard back");
    EXPECT_GT(Metric(rows), before) << "the new shard is used";
  }
  EXPECT_LE(stopped, GapMax()) << "a shard stood still";
  EXPECT_LE(killed, GapMax()) << "a shard was killed";
}

TEST_P(ProcessLossTest, RouterKilled) {
  const pid_t pids[] = {shards_[0]->pid(), shards_[1]->pid()};
  RunThrough("router killed", [&] {
    router_->Signal(SIGKILL);
    StartRouter();
  });
  for (size_t i = 0; i < kShards; ++i) {
    EXPECT_EQ(shards_[i]->pid(), pids[i]);
    EXPECT_EQ(shards_[i]->Poll(), std::nullopt) << "still the same process";
  }
  // (Where answers are late for long, others load what only a late shard has.)
  if (calm()) {
    EXPECT_EQ(Metric("tessera_router_unit_loads_total "), 0) << "they hold what they held";
  }
}

}  // namespace
}  // namespace tessera
