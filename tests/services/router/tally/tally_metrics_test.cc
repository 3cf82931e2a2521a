#include "services/router/tally/tally_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/router/tally/expert_metrics.h"

namespace tessera::router {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::Duration kNow = absl::Seconds(50);

class TallyMetricsTest : public ::testing::Test {
 protected:
  std::string Text(absl::Duration now = kNow) {
    metrics_.Refresh(now);
    return registry_.Text();
  }

  ExpertTally tally_{{LayerIndex{2}, LayerIndex{3}}, 4};
  Registry registry_;
  TallyMetrics metrics_{registry_, tally_};
};

TEST_F(TallyMetricsTest, BalanceOfTheLastTenSeconds) {
  EXPECT_THAT(Text(),
              HasSubstr("tessera_router_layer_balance_ratio{layer=\"2\",over=\"shard\"} 1\n"));
  tally_.CountRouting(LayerIndex{2}, std::vector<uint32_t>{0, 1, 0, 1, 0, 1, 0, 2});
  tally_.CountAnswer({LayerIndex{2}, ShardId{0}, 6, 2});
  tally_.CountAnswer({LayerIndex{2}, ShardId{5}, 2, 1});
  tally_.Commit(kNow);
  const std::string text = Text();
  EXPECT_THAT(text,
              HasSubstr("tessera_router_layer_balance_ratio{layer=\"2\",over=\"expert\"} 0.5\n"));
  EXPECT_THAT(text,
              HasSubstr("tessera_router_layer_imbalance_ratio{layer=\"2\",over=\"expert\"} 2\n"));
  EXPECT_THAT(text,
              HasSubstr("tessera_router_layer_imbalance_ratio{layer=\"2\",over=\"shard\"} 1.5\n"));
  EXPECT_THAT(text,
              HasSubstr("tessera_router_layer_jain_index_ratio{layer=\"2\",over=\"shard\"} 0.8\n"));
  EXPECT_THAT(text,
              HasSubstr("tessera_router_layer_balance_ratio{layer=\"3\",over=\"shard\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("tessera_router_experts_idle 5\n"));
  EXPECT_THAT(text,
              HasSubstr("tessera_router_layer_shard_pairs_total{layer=\"2\",shard=\"5\"} 2\n"));
  EXPECT_THAT(text,
              HasSubstr("tessera_router_layer_shard_experts_total{layer=\"2\",shard=\"0\"} 2\n"));
  const std::string later = Text(kNow + ExpertTally::window());
  EXPECT_THAT(later, HasSubstr("tessera_router_experts_idle 8\n"));
  EXPECT_THAT(later,
              HasSubstr("tessera_router_layer_shard_pairs_total{layer=\"2\",shard=\"5\"} 2\n"));
}

TEST_F(TallyMetricsTest, TheHottestUnitsByRank) {
  EXPECT_THAT(Text(), HasSubstr("tessera_router_hot_unit_ratio{rank=\"1\"} 0\n"));
  tally_.CountRouting(LayerIndex{2}, std::vector<uint32_t>{0, 1, 0, 1, 0, 1});
  tally_.CountRouting(LayerIndex{3}, std::vector<uint32_t>{2, 3, 2, 3, 2, 3, 2, 1, 2, 0});
  tally_.Commit(kNow);
  const std::string text = Text();  // 16 rows of 8 units: 5, 3, 3, 3, 1, 1, 0, 0
  EXPECT_THAT(text, HasSubstr("tessera_router_hot_unit_ratio{rank=\"1\"} 2.5\n"));
  EXPECT_THAT(text, HasSubstr("tessera_router_hot_unit_ratio{rank=\"4\"} 1.5\n"));
  EXPECT_THAT(text, HasSubstr("tessera_router_hot_unit_ratio{rank=\"5\"} 0.5\n"));
  EXPECT_THAT(text, HasSubstr("tessera_router_hot_unit_ratio{rank=\"8\"} 0\n"));
  EXPECT_THAT(text, Not(HasSubstr("rank=\"9\"")));  // there are eight units
}

TEST_F(TallyMetricsTest, LateShardsShareTheirSeries) {
  for (uint32_t shard = 0; shard < 2 * TallyMetrics::kShardsMax; ++shard) {
    tally_.CountAnswer({LayerIndex{3}, ShardId{shard}, 1, 1});
    tally_.Commit(kNow);
    metrics_.Refresh(kNow);
  }
  const std::string text = Text();
  EXPECT_THAT(text, HasSubstr("pairs_total{layer=\"3\",shard=\"63\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("pairs_total{layer=\"3\",shard=\"other\"} 64\n"));
  EXPECT_THAT(text, Not(HasSubstr("shard=\"64\"")));
}

TEST_F(TallyMetricsTest, APageOfEveryExpert) {
  tally_.CountRouting(LayerIndex{3}, std::vector<uint32_t>{1, 3});
  tally_.Commit(kNow);
  EXPECT_EQ(ExpertMetricsText(tally_),
            "# HELP tessera_router_expert_rows_total Rows the gate sent to an expert.\n"
            "# TYPE tessera_router_expert_rows_total counter\n"
            "tessera_router_expert_rows_total{layer=\"2\",expert=\"0\"} 0\n"
            "tessera_router_expert_rows_total{layer=\"2\",expert=\"1\"} 0\n"
            "tessera_router_expert_rows_total{layer=\"2\",expert=\"2\"} 0\n"
            "tessera_router_expert_rows_total{layer=\"2\",expert=\"3\"} 0\n"
            "tessera_router_expert_rows_total{layer=\"3\",expert=\"0\"} 0\n"
            "tessera_router_expert_rows_total{layer=\"3\",expert=\"1\"} 1\n"
            "tessera_router_expert_rows_total{layer=\"3\",expert=\"2\"} 0\n"
            "tessera_router_expert_rows_total{layer=\"3\",expert=\"3\"} 1\n");
}

}  // namespace
}  // namespace tessera::router
