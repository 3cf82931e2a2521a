#include "services/cli/plan/plan_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/http/http_server.h"
#include "common/json/json.h"
#include "common/model/model_config.h"
#include "services/cli/plan/cluster_simulation.h"

namespace tessera::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kModel[] = TESSERA_SOURCE_DIR "/deploy/models/tessera-demo";

class PlanCommandTest : public ::testing::Test {
 protected:
  int Plan(const std::vector<std::string>& flags) {
    const std::vector<std::string_view> args(flags.begin(), flags.end());
    std::istringstream in;
    out_.str("");
    err_.str("");
    return RunPlan(args, {.in = in, .out = out_, .err = err_});
  }
  int PlanFrom(std::vector<HttpRoute> routes) {
    auto server = HttpServer::Start({}, std::move(routes));
    EXPECT_TRUE(server.ok()) << server.status();
    return server.ok() ? Plan({"--from=" + (*server)->address()}) : -1;
  }
  double Number(const char* key) const {
    const auto document = JsonDocument::Parse(out_.str());
    EXPECT_TRUE(document.ok()) << out_.str() << err_.str();
    if (!document.ok()) return -1;
    const auto value = document->root().Find(key);
    EXPECT_TRUE(value.has_value()) << key;
    return value ? value->AsNumber().value_or(-1) : -1;
  }

  std::ostringstream out_;
  std::ostringstream err_;
};

// A router's admin listener whose look ends while it is asked for the third time.
struct LookingRouter {
  int asked = 0;
  int reads = 0;
  int look_status = 202;

  std::vector<HttpRoute> Routes() {
    return {{"GET", "/balance",
             [this](const HttpRequest&) {
               reads += asked > 0;
               const bool looked = reads >= 3;
               return HttpReply::Json(
                   200,
                   absl::StrCat(R"({"verdict":")", looked ? "dry_run" : "none", R"(","balance":)",
                                looked ? 0.5 : 1, R"(,"planned":)", looked ? 0.9 : 1,
                                R"(,"loads":0,"looks":)", looked ? 8 : 7, R"(,"moves":[]})"));
             }},
            {"POST", "/balance/look", [this](const HttpRequest&) {
               ++asked;
               return HttpReply{.status = look_status, .body = "router-1 leads\n"};
             }}};
  }
};

TEST_F(PlanCommandTest, ARouterIsToldToLookAndWhatItFindsIsShown) {
  LookingRouter router;
  EXPECT_EQ(PlanFrom(router.Routes()), 0) << err_.str();
  EXPECT_EQ(router.asked, 1);
  EXPECT_EQ(router.reads, 3);
  EXPECT_THAT(out_.str(), HasSubstr("dry_run"));
  EXPECT_THAT(out_.str(), HasSubstr("0.500 now, 0.900 after"));
  EXPECT_THAT(out_.str(), Not(HasSubstr("estimate")));
}

TEST_F(PlanCommandTest, ARouterThatMayNotLookSaysWhy) {
  LookingRouter router{.look_status = 409};
  EXPECT_NE(PlanFrom(router.Routes()), 0);
  EXPECT_THAT(err_.str(), HasSubstr("router-1 leads"));
  EXPECT_EQ(out_.str(), "");
}

TEST_F(PlanCommandTest, WhatAGatewayTellsIsAnEstimate) {
  const auto load = [](const HttpRequest&) {
    return HttpReply::Json(
        200,
        R"({"window_seconds":10,"layers":[{"layer":2,"rows":[900,90,80,70,9,9,9,9,9,9,9,9,9,9,9,9]}],"shards":[)"
        R"({"id":"expert-0","state":"lost"},{"id":"expert-3","state":"live"},)"
        R"({"id":"expert-5","state":"live"}]})");
  };
  EXPECT_EQ(PlanFrom({{"GET", "/v1/experts/load", load}}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("an estimate from the load of the last 10 s"));
  EXPECT_THAT(out_.str(), HasSubstr("expert-5"));
  EXPECT_THAT(out_.str(), Not(HasSubstr("expert-1")));
}

TEST_F(PlanCommandTest, OthersAreNamed) {
  EXPECT_NE(PlanFrom({}), 0);
  EXPECT_THAT(err_.str(), HasSubstr("a gateway or the admin address of a router"));
}

TEST_F(PlanCommandTest, TheSimulationTakesTheModelsRows) {
  const auto spec = ReadModelSpec(kModel);
  ASSERT_TRUE(spec.ok()) << spec.status();
  const std::vector<std::string> flags = {"--simulate",
                                          "--json",
                                          absl::StrCat("--model=", kModel),
                                          "--shards=3",
                                          "--steps=5",
                                          "--warmup_steps=5",
                                          "--rows=7",
                                          "--zipf=1",
                                          "--failures=1",
                                          "--link_gigabits=0.1",
                                          "--slots_kept_free=0.2"};
  EXPECT_EQ(Plan(flags), 0) << err_.str();
  SimulationConfig config;
  config.shape = {spec->moe_layer_count(), spec->expert_count};
  config.top_k = static_cast<uint32_t>(spec->top_k);
  config.row_bytes_up = 2 * spec->d_model;
  config.row_bytes_down = 4 * spec->d_model;
  config.unit_bytes = 6.0 * static_cast<double>(spec->d_model * spec->expert_width);
  config.shards = 3;
  config.steps = config.warmup_steps = 5;
  config.rows = 7;
  config.failures = 1;
  config.link_gigabits = 0.1;
  config.slots_kept_free = 0.2;
  router::ZipfRouting routing(config.shape, config.top_k, 1, config.seed);
  const auto result = Simulate(config, routing);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NEAR(Number("tokens_per_second"), result->tokens_per_second, 0.06);
  EXPECT_NEAR(Number("steps_per_second"), result->steps_per_second, 0.001);
  EXPECT_EQ(Number("rows"), 7);
  EXPECT_EQ(Number("roomless_experts"), static_cast<double>(result->roomless_experts));
  EXPECT_EQ(Number("died_shards"), 1);
}

TEST_F(PlanCommandTest, WhatIsTooMuchIsRefusedBeforeAnythingIsAllocated) {
  const std::pair<const char*, const char*> kRefused[] = {
      {"--layers=4000000000", "shape: expected 1..4096 layers of 1..65536 experts"},
      {"--experts=3", "experts: expected no fewer than a row visits"},
      {"--load_mb_per_second=0", "--load_mb_per_second: 0; expected 1e-06 to 1e+09"},
      {"--unit_mb=-1", "--unit_mb: -1; expected 0 to 1e+09"},
      {"--rounds=0", "rounds: expected >= 1"},
      {"--warmup_steps=0", "warmup_steps: expected >= 1"}};
  for (const auto& [flag, expected] : kRefused) {
    EXPECT_NE(Plan({"--simulate", flag}), 0) << flag;
    EXPECT_THAT(err_.str(), HasSubstr(expected));
    EXPECT_NE(Plan({"--simulate", "--table", flag}), 0) << flag;
  }
}

}  // namespace
}  // namespace tessera::cli
