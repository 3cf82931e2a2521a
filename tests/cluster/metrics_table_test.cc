// deploy/metrics.md says what a real cluster exports, and a real cluster exports what it says.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "services/cli/top/top_command.h"
#include "tests/support/raw_http.h"
#include "tests/support/served_cluster.h"
#include "tests/support/temp_folder.h"

namespace tessera {
namespace {

using testing::Fetch;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::RawGet;
using testing::ServedCluster;

constexpr char kNobodyListens[] = "http://127.0.0.1:9";  // no request is traced either

struct Family {
  std::string type;
  std::string help;
  std::set<std::string> labels;
  std::vector<std::string> services;  // in the order they were asked
};
using Families = std::map<std::string, Family>;

std::vector<std::string> Lines(const std::string& text) {
  return absl::StrSplit(text, '\n', absl::SkipEmpty());
}

// The family a sample belongs to: histograms have three endings.
std::string FamilyOf(const std::string& sample, const Families& families) {
  for (const std::string_view ending : {"_bucket", "_sum", "_count"}) {
    if (!std::string_view(sample).ends_with(ending)) continue;
    const std::string base = sample.substr(0, sample.size() - ending.size());
    const auto found = families.find(base);
    if (found != families.end() && found->second.type == "histogram") return base;
  }
  return sample;
}

void ReadPage(const std::string& page, const std::string& service, Families& families) {
  for (const std::string& line : Lines(page)) {
    const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 3));
    if (words[0] == "#" && words.size() == 4) {
      Family& family = families[words[2]];
      (words[1] == "HELP" ? family.help : family.type) = words[3];
      if (family.services.empty() || family.services.back() != service) {
        family.services.push_back(service);
      }
      continue;
    }
    const size_t end = line.find_first_of("{ ");
    Family& family = families[FamilyOf(line.substr(0, end), families)];
    if (line[end] != '{') continue;
    const size_t close = line.rfind('}');
    const std::vector<std::string> labels =
        absl::StrSplit(line.substr(end + 1, close - end - 1), "\",", absl::SkipEmpty());
    for (const std::string& label : labels) {
      const std::string name = label.substr(0, label.find('='));
      if (name != "le") family.labels.insert(name);
    }
  }
}

// The rows of the table in deploy/metrics.md, whatever stands around them.
std::set<std::string> TableRows() {
  const std::string text =
      testing::ReadFile(std::string(TESSERA_SOURCE_DIR) + "/deploy/metrics.md");
  std::set<std::string> rows;
  for (const std::string& line : Lines(text)) {
    if (line.starts_with("| `")) rows.insert(line);
  }
  return rows;
}

std::string RowOf(const std::string& name, const Family& family) {
  const auto quoted = [](std::string* out, const std::string& label) {
    absl::StrAppend(out, "`", label, "`");
  };
  return absl::StrCat("| `", name, "` | ", family.type, " | ",
                      absl::StrJoin(family.labels, " ", quoted), family.labels.empty() ? "" : " ",
                      "| ", absl::StrJoin(family.services, ", "), " | ", family.help, " |");
}

class MetricsTableTest : public ::testing::Test {
 protected:
  void Start(const std::string& gateway_config = "") {
    auto cluster = ServedCluster::Start({.shard_count = 2,
                                         .gateway_config = gateway_config,
                                         .router_config = R"("expert_metrics": true)",
                                         .otlp_endpoint = kNobodyListens});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    ASSERT_EQ(cluster_->Complete({30, 31, 32, 33, 34}, 8), 200);
  }
  std::map<std::string, std::string> Pages() {
    return {{"expert", ServedCluster::Page(cluster_->shard_admin(0))},
            {"gateway", ServedCluster::Page(cluster_->gateway_admin())},
            {"router", ServedCluster::Page(cluster_->router_admin())},
            {"router, /metrics/experts",
             ServedCluster::Page(cluster_->router_admin(), "/metrics/experts")}};
  }
  std::unique_ptr<ServedCluster> cluster_;
};

TEST_F(MetricsTableTest, TheTableIsWhatIsExported) {
  Start();
  Families families;
  for (const auto& [service, page] : Pages()) ReadPage(page, service, families);
  std::set<std::string> exported;
  for (const auto& [name, family] : families) {
    exported.insert(RowOf(name, family));
  }
  const std::set<std::string> told = TableRows();
  std::vector<std::string> missing;
  std::ranges::set_difference(exported, told, std::back_inserter(missing));
  std::vector<std::string> wrong;
  std::ranges::set_difference(told, exported, std::back_inserter(wrong));
  EXPECT_THAT(missing, IsEmpty()) << "add to deploy/metrics.md:\n" << absl::StrJoin(missing, "\n");
  EXPECT_THAT(wrong, IsEmpty()) << "take out of deploy/metrics.md:\n" << absl::StrJoin(wrong, "\n");
}

TEST_F(MetricsTableTest, SeriesAreBounded) {
  Start();
  // A family has no more series than these labels can take together; in this cluster: 5 layers, 2
  // shards, 9 reasons. Of a histogram its buckets, sum and count count as one.
  const std::map<std::string, size_t> values = {
      {"shard", 2},   {"layer", 5},  {"phase", 7},           {"over", 2},       {"reason", 9},
      {"state", 4},   {"cause", 5},  {"finished_reason", 4}, {"model_name", 1}, {"service", 1},
      {"version", 1}, {"expert", 8}, {"rank", 20},           {"code", 21}};
  for (const auto& [service, page] : Pages()) {
    Families families;
    ReadPage(page, service, families);
    std::map<std::string, std::set<std::string>> series;
    for (const std::string& line : Lines(page)) {
      if (line[0] == '#') continue;
      const std::string name = line.substr(0, line.find_first_of("{ "));
      if (FamilyOf(name, families) == name || name.ends_with("_count")) {
        series[name].insert(line.substr(0, line.rfind(' ')));
      }
    }
    for (const auto& [name, lines] : series) {
      size_t most = 1;
      for (const std::string& label : families[FamilyOf(name, families)].labels) {
        ASSERT_TRUE(values.contains(label)) << name << " has an unknown label " << label;
        most *= values.at(label);
      }
      EXPECT_LE(lines.size(), most) << name;
    }
  }
}

// What promtool would say of names, where it is not installed.
TEST_F(MetricsTableTest, NamesAreAsPrometheusWantsThem) {
  Start();
  Families families;
  for (const auto& [service, page] : Pages()) ReadPage(page, service, families);
  EXPECT_GT(families.size(), 50u);
  for (const auto& [name, family] : families) {
    EXPECT_THAT(name, ::testing::MatchesRegex("[a-z][a-z0-9_]*"));
    EXPECT_EQ(name.ends_with("_total"), family.type == "counter") << name << ": " << family.type;
    EXPECT_THAT(family.help, Not(IsEmpty())) << name;
  }
}

TEST_F(MetricsTableTest, PromtoolFindsNothingToBlame) {
  if (std::system("command -v promtool >/dev/null") != 0) {
    GTEST_SKIP() << "there is no promtool (Debian package prometheus)";
  }
  Start();
  const testing::TempFolder folder;
  for (const auto& [service, page] : Pages()) {
    testing::WriteFile(folder.File("page"), page);
    const std::string command = absl::StrCat("promtool check metrics < ", folder.File("page"),
                                             " > ", folder.File("said"), " 2>&1");
    EXPECT_EQ(std::system(command.c_str()), 0) << service << ":\n"
                                               << testing::ReadFile(folder.File("said"));
  }
}

TEST_F(MetricsTableTest, TheNamesOfVllmOnRequest) {
  Start(R"("metrics_compat": "vllm")");
  for (const std::string& page : {ServedCluster::Page(cluster_->gateway_admin()),
                                  Fetch(cluster_->http_port(), RawGet("/metrics")).body}) {
    EXPECT_THAT(page,
                HasSubstr("\nvllm:num_requests_running{model_name=\"tiny\",engine=\"0\"} 0\n"));
    EXPECT_THAT(page,
                HasSubstr("\nvllm:num_requests_waiting{model_name=\"tiny\",engine=\"0\"} 0\n"));
    EXPECT_THAT(page,
                HasSubstr("\nvllm:generation_tokens_total{model_name=\"tiny\",engine=\"0\"} 8\n"));
    EXPECT_THAT(
        page, HasSubstr("\nvllm:prefix_cache_queries_total{model_name=\"tiny\",engine=\"0\"} 5\n"));
    EXPECT_THAT(page, HasSubstr("\ntessera_generation_tokens_total{model_name=\"tiny\"} 8\n"));
    EXPECT_THAT(
        page,
        HasSubstr(
            "\nvllm:time_to_first_token_seconds_count{model_name=\"tiny\",engine=\"0\"} 1\n"));
  }
}

TEST_F(MetricsTableTest, TopShowsOnePicture) {
  Start();
  std::istringstream in;
  std::ostringstream out;
  std::ostringstream err;
  const std::string address = absl::StrCat("--address=127.0.0.1:", cluster_->http_port());
  const std::vector<std::string_view> words = {address, "--once", "--interval_seconds=0.1"};
  EXPECT_EQ(cli::RunTop(words, {in, out, err}), 0) << err.str();
  EXPECT_THAT(out.str(), HasSubstr("tiny  ready\n"));
  EXPECT_THAT(out.str(), HasSubstr("expert-0     live "));
  EXPECT_THAT(out.str(), HasSubstr("expert-1     live "));
  EXPECT_THAT(out.str(), HasSubstr("\n   4 |"));
  EXPECT_THAT(out.str(), Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace tessera
