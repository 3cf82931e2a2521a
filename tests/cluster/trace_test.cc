// One trace through gateway, router and expert shards, as a collector of traces sees it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/served_cluster.h"
#include "tests/support/trace_collector.h"

namespace tessera {
namespace {

using testing::CollectedSpan;
using testing::ServedCluster;
using testing::TraceCollector;

std::string Traceparent(int number, bool sampled) {
  return absl::StrCat("traceparent: 00-", absl::Hex(number, absl::kZeroPad16), "ffffffffffffffff-",
                      "00000000000000aa-", sampled ? "01" : "00", "\r\n");
}

std::string TraceOf(int number) {
  return absl::StrCat(absl::Hex(number, absl::kZeroPad16), "ffffffffffffffff");
}

std::vector<CollectedSpan> Of(const std::vector<CollectedSpan>& spans, const std::string& service,
                              int number) {
  std::vector<CollectedSpan> found;
  std::ranges::copy_if(spans, std::back_inserter(found), [&](const CollectedSpan& span) {
    return span.service == service && span.trace == TraceOf(number);
  });
  return found;
}

TEST(TraceTest, OneTraceIdInGatewayRouterAndEveryShard) {
  const TraceCollector collector;
  auto cluster = ServedCluster::Start({.shard_count = 2, .otlp_endpoint = collector.endpoint()});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  std::vector<int> prompt(24);
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = static_cast<int>(3 + 5 * i);
  ASSERT_EQ((*cluster)->Complete(prompt, 12, Traceparent(1, true)), 200);
  ASSERT_EQ((*cluster)->Complete(prompt, 4, Traceparent(2, false)), 200);
  prompt[0] = 2;  // nothing of it is in the prefix cache
  ASSERT_EQ((*cluster)->Complete(prompt, 4, Traceparent(3, true)), 200);
  ASSERT_EQ((*cluster)->Complete(prompt, 4), 200);
  cluster->reset();  // every service posts what waits
  const std::vector<CollectedSpan> spans = collector.spans();
  for (const int number : {1, 3}) {
    const auto gateway = Of(spans, "tessera-gateway", number);
    const auto router = Of(spans, "tessera-router", number);
    const auto shards = Of(spans, "tessera-expert", number);
    ASSERT_EQ(gateway.size(), 1u) << number;
    ASSERT_EQ(router.size(), 1u) << number;
    EXPECT_EQ(gateway[0].parent, "00000000000000aa");
    EXPECT_EQ(router[0].parent, gateway[0].span);
    std::set<std::string> instances;
    for (const CollectedSpan& span : shards) {
      instances.insert(span.instance);
      EXPECT_EQ(span.parent, router[0].span);
      EXPECT_EQ(span.name, "experts");
    }
    // The prompt is one step, and each shard is told once: no span for any of the tokens.
    EXPECT_EQ(shards.size(), 2u);
    EXPECT_EQ(instances, (std::set<std::string>{"0", "1"}));
  }
  for (const CollectedSpan& span : spans) {
    EXPECT_TRUE(span.trace == TraceOf(1) || span.trace == TraceOf(3)) << span.service;
  }
}

TEST(TraceTest, OffIsTheDefault) {
  const TraceCollector collector;  // that nobody is told of
  auto cluster = ServedCluster::Start({.shard_count = 1});
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  ASSERT_EQ((*cluster)->Complete({1, 2, 3}, 4, Traceparent(1, true)), 200);
  for (const std::string& admin :
       {(*cluster)->gateway_admin(), (*cluster)->router_admin(), (*cluster)->shard_admin(0)}) {
    EXPECT_EQ(ServedCluster::Page(admin).find("tessera_spans"), std::string::npos);
  }
  cluster->reset();
  EXPECT_EQ(collector.post_count(), 0u);
}

}  // namespace
}  // namespace tessera
