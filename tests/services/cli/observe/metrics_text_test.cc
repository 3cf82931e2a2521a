#include "services/cli/observe/metrics_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::cli {
namespace {

using ::testing::DoubleEq;
using ::testing::Optional;

constexpr char kPage[] = R"(# HELP a_total Things.
# TYPE a_total counter
a_total{shard="0",name="x\"y\\z\n"} 3
a_total{shard="1"} 4.5 1700000000000
b 1e3
nan NaN
c_bucket{le="0.1"} 2
c_bucket{le="0.2"} 6
c_bucket{le="+Inf"} 8
broken{le="0.1 3
empty
)";

TEST(MetricsTextTest, ReadsSeries) {
  const MetricsText text(kPage);
  EXPECT_THAT(text.Sum("a_total"), Optional(DoubleEq(7.5)));
  EXPECT_THAT(text.Sum("b"), Optional(DoubleEq(1000)));
  EXPECT_EQ(text.Sum("nan"), std::nullopt);
  EXPECT_EQ(text.Sum("broken"), std::nullopt);
  EXPECT_EQ(text.Sum("a"), std::nullopt);
  const auto series = text.Of("a_total");
  ASSERT_EQ(series.size(), 2u);
  EXPECT_EQ(series[0].labels.at("name"), "x\"y\\z\n");
  EXPECT_EQ(series[1].labels.at("shard"), "1");
}

TEST(MetricsTextTest, QuantilesAreThoseOfHistogramQuantile) {
  const MetricsText text(kPage);
  // 8 values: 2 up to 0.1, 4 up to 0.2, 2 above.
  EXPECT_THAT(text.Quantile("c", 0.125, nullptr), Optional(DoubleEq(0.05)));
  EXPECT_THAT(text.Quantile("c", 0.5, nullptr), Optional(DoubleEq(0.15)));
  EXPECT_THAT(text.Quantile("c", 0.99, nullptr), Optional(DoubleEq(0.2)));
  EXPECT_EQ(text.Quantile("d", 0.5, nullptr), std::nullopt);
  EXPECT_EQ(text.Quantile("c", 0.5, &text), std::nullopt);  // nothing came since
  const MetricsText before(
      "c_bucket{le=\"0.1\"} 2\nc_bucket{le=\"0.2\"} 2\nc_bucket{le=\"+Inf\"} 4\n");
  EXPECT_THAT(text.Quantile("c", 0.5, &before), Optional(DoubleEq(0.15)));
}

}  // namespace
}  // namespace tessera::cli
